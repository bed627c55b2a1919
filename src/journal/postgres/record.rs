//! Updates and their events in the database.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use secrecy::SecretString;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::super::codec::{self, EVENT_VERSION};
use super::super::secret::Obsolete;
use super::super::{
    Created, Fence, Idempotency, Journal, JournalError, LARGEST_PAGE, Leased, NewUpdate, SealError, SecretPurpose,
};
use super::{Inner, Parameter, PostgresJournal};
use crate::clock::Timestamp;
use crate::id::UpdateId;
use crate::key_store::{AccessKeyId, CustomKeyStoreId};
use crate::update::{Ending, Event, Recorded};

const FIND: &str = "SELECT id, request_digest FROM updates WHERE idempotency_key = $1";

#[async_trait]
impl Journal for PostgresJournal {
    async fn create(&self, new: NewUpdate) -> Result<Created, JournalError> {
        self.0.bounded(self.0.create(&new)).await
    }

    async fn find(&self, idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        let rows = self.0.rows(FIND, &[&idempotency.key]).await?;
        self.0.earlier(&rows, idempotency)
    }

    async fn lease(&self, update: UpdateId, holder: &str, ttl: Duration) -> Result<Leased, JournalError> {
        self.0.bounded(self.0.lease(update, holder, ttl)).await
    }

    async fn renew(&self, update: UpdateId, fence: Fence, ttl: Duration) -> Result<(), JournalError> {
        self.0.bounded(self.0.renew(update, fence, ttl)).await
    }

    async fn release(&self, update: UpdateId, fence: Fence) -> Result<(), JournalError> {
        self.0.bounded(self.0.release(update, fence)).await
    }

    async fn append(
        &self,
        update: UpdateId,
        fence: Fence,
        sequence: u64,
        at: Timestamp,
        event: &Event,
    ) -> Result<Recorded, JournalError> {
        self.0.bounded(self.0.append(update, fence, Recorded { sequence, at, event: event.clone() })).await
    }

    async fn load(&self, update: UpdateId) -> Result<Vec<Recorded>, JournalError> {
        let sql = "SELECT sequence, at, version, body FROM events WHERE update_id = $1 ORDER BY sequence";
        let rows = self.0.rows(sql, &[&update.to_string()]).await?;
        let events = rows.iter().map(|row| self.0.recorded(row)).collect::<Result<Vec<_>, _>>()?;
        if events.is_empty() { Err(JournalError::NotFound(update)) } else { Ok(events) }
    }

    async fn news(&self, known: &[(UpdateId, u64)]) -> Result<Vec<Vec<Recorded>>, JournalError> {
        let ids: Vec<String> = known.iter().map(|(id, _)| id.to_string()).collect();
        let after: Vec<i64> = known.iter().map(|(_, after)| i64::try_from(*after).unwrap_or(i64::MAX)).collect();
        let sql = "SELECT e.sequence, e.at, e.version, e.body, k.place \
                   FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS k (id, after, place) \
                   JOIN events e ON e.update_id = k.id AND e.sequence > k.after ORDER BY k.place, e.sequence";
        let mut news = vec![Vec::new(); known.len()];
        for row in self.0.rows(sql, &[&ids, &after]).await? {
            // Places are counted from 1.
            let place = usize::try_from(self.0.get::<i64>(&row, 4)?).unwrap_or(0);
            let recorded = self.0.recorded(&row)?;
            if let Some(of_it) = place.checked_sub(1).and_then(|place| news.get_mut(place)) {
                of_it.push(recorded);
            }
        }
        Ok(news)
    }

    async fn open_updates(&self) -> Result<Vec<UpdateId>, JournalError> {
        self.0.ids(&self.0.rows("SELECT id FROM updates WHERE open ORDER BY id", &[]).await?)
    }

    async fn list(&self, before: Option<UpdateId>, limit: usize) -> Result<Vec<UpdateId>, JournalError> {
        // Identifiers sort by time; "v" comes after every identifier, which all begin with "update-".
        let before = before.map_or_else(|| "v".to_owned(), |id| id.to_string());
        let limit = i64::try_from(limit.min(LARGEST_PAGE)).unwrap_or(0);
        let sql = "SELECT id FROM updates WHERE id < $1 ORDER BY id DESC LIMIT $2";
        self.0.ids(&self.0.rows(sql, &[&before, &limit]).await?)
    }

    async fn with_new_credential(
        &self,
        key_store: &CustomKeyStoreId,
        before: Option<UpdateId>,
        limit: usize,
    ) -> Result<Vec<UpdateId>, JournalError> {
        let before = before.map_or_else(|| "v".to_owned(), |id| id.to_string());
        let limit = i64::try_from(limit.min(LARGEST_PAGE)).unwrap_or(0);
        let sql = "SELECT id FROM updates WHERE key_store = $1 AND new_access_key_id IS NOT NULL AND id < $2 \
                   ORDER BY id DESC LIMIT $3";
        self.0.ids(&self.0.rows(sql, &[&key_store.as_str(), &before, &limit]).await?)
    }

    async fn key_stores_with_new_credential(&self) -> Result<Vec<CustomKeyStoreId>, JournalError> {
        let sql = "SELECT DISTINCT key_store FROM updates WHERE new_access_key_id IS NOT NULL ORDER BY key_store";
        let rows = self.0.rows(sql, &[]).await?;
        // One that cannot be read is no key store of KMS, and nobody asks about it.
        let ids = rows.iter().map(|row| Ok(CustomKeyStoreId::parse(&self.0.get::<String>(row, 0)?).ok()));
        Ok(ids.collect::<Result<Vec<_>, JournalError>>()?.into_iter().flatten().collect())
    }

    async fn secret(&self, update: UpdateId, purpose: SecretPurpose) -> Result<Option<SecretString>, JournalError> {
        let sql = "SELECT sealed FROM secrets WHERE update_id = $1 AND purpose = $2";
        let rows = self.0.rows(sql, &[&update.to_string(), &purpose.as_str()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let sealed: Vec<u8> = self.0.get(row, 0)?;
        let key = self.0.sealing_key.as_ref().ok_or(JournalError::Seal(SealError::NoKey))?;
        key.open(update, purpose, &sealed).map(Some).map_err(JournalError::Seal)
    }

    async fn holder_of(
        &self,
        key_store: &CustomKeyStoreId,
        access_key_id: &AccessKeyId,
    ) -> Result<Option<UpdateId>, JournalError> {
        let sql = "SELECT u.id FROM updates u JOIN secrets s ON s.update_id = u.id AND s.purpose = 'new_credential' \
                   WHERE u.key_store = $1 AND u.verified AND u.new_access_key_id = $2 ORDER BY u.id DESC LIMIT 1";
        let rows = self.0.rows(sql, &[&key_store.as_str(), &access_key_id.as_str()]).await?;
        Ok(self.0.ids(&rows)?.into_iter().next())
    }

    fn keeps_secrets(&self) -> bool {
        self.0.sealing_key.is_some()
    }
}

impl Inner {
    async fn create(&self, new: &NewUpdate) -> Result<Created, JournalError> {
        loop {
            let mut borrowed = self.borrow().await?;
            let client = borrowed.client()?;
            let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
            let created = self.create_in(&transaction, new).await?;
            match created {
                Some(Created::New) => self.commit(transaction).await?,
                _ => transaction.rollback().await.map_err(|error| self.failed(error))?,
            }
            borrowed.give_back();
            // Somebody else was quicker with the same key or the same key store: now it can be told who.
            if let Some(created) = created {
                return Ok(created);
            }
        }
    }

    /// `None` when another transaction has made what stands in the way while this one was looking.
    async fn create_in(&self, transaction: &Transaction<'_>, new: &NewUpdate) -> Result<Option<Created>, JournalError> {
        if let Some(idempotency) = &new.idempotency
            && let Some(earlier) =
                self.earlier(&self.query(transaction, FIND, &[&idempotency.key]).await?, idempotency)?
        {
            return Ok(Some(earlier));
        }
        let key_store = new.plan.key_store.as_str();
        let sql = "SELECT id FROM updates WHERE key_store = $1 AND open";
        if let Some(open) = self.ids(&self.query(transaction, sql, &[&key_store]).await?)?.first() {
            return Ok(Some(Created::Locked(*open)));
        }
        let id = new.plan.id.to_string();
        let access_key_id = new.plan.change.credential.as_ref().map(|credential| credential.access_key_id.as_str());
        let idempotency = new.idempotency.as_ref();
        let sql = "INSERT INTO updates (id, key_store, new_access_key_id, open, verified, idempotency_key, \
                   request_digest) VALUES ($1, $2, $3, true, false, $4, $5) ON CONFLICT DO NOTHING RETURNING id";
        let made = self
            .query(
                transaction,
                sql,
                &[
                    &id,
                    &key_store,
                    &access_key_id,
                    &idempotency.map(|idempotency| idempotency.key.as_str()),
                    &idempotency.map(|idempotency| idempotency.request_digest.as_str()),
                ],
            )
            .await?;
        if made.is_empty() {
            return Ok(None);
        }
        let planned = Event::Planned { plan: Box::new(new.plan.clone()) };
        let first = Recorded { sequence: 1, at: new.at, event: planned };
        self.insert_event(transaction, new.plan.id, 1, &first).await?;
        for (purpose, secret) in &new.secrets {
            let key = self.sealing_key.as_ref().ok_or(JournalError::Seal(SealError::NoKey))?;
            let sealed = key.seal(new.plan.id, *purpose, secret).map_err(JournalError::Seal)?;
            let sql = "INSERT INTO secrets (update_id, purpose, sealed) VALUES ($1, $2, $3)";
            self.query(transaction, sql, &[&id, &purpose.as_str(), &sealed]).await?;
        }
        Ok(Some(Created::New))
    }

    async fn append(&self, update: UpdateId, fence: Fence, recorded: Recorded) -> Result<Recorded, JournalError> {
        let mut borrowed = self.borrow().await?;
        let client = borrowed.client()?;
        let transaction = client.transaction().await.map_err(|error| self.failed(error))?;
        let done = self.append_in(&transaction, update, fence, &recorded).await;
        match done {
            Ok(()) => self.commit(transaction).await?,
            Err(refused @ (JournalError::Fenced { .. } | JournalError::OutOfSequence { .. })) => {
                transaction.rollback().await.map_err(|error| self.failed(error))?;
                borrowed.give_back();
                return Err(refused);
            }
            Err(error) => return Err(error),
        }
        borrowed.give_back();
        Ok(recorded)
    }

    async fn append_in(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        fence: Fence,
        recorded: &Recorded,
    ) -> Result<(), JournalError> {
        let out_of_sequence = JournalError::OutOfSequence { update, sequence: recorded.sequence };
        let Ok(number) = i64::try_from(recorded.sequence) else { return Err(out_of_sequence) };
        // Locked until the end of the transaction: nobody else appends to this update or takes its lease meanwhile.
        let sql = "SELECT fence, (SELECT coalesce(max(sequence), 0) FROM events WHERE update_id = $1) \
                   FROM updates WHERE id = $1 FOR UPDATE";
        let rows = self.query(transaction, sql, &[&update.to_string()]).await?;
        let row = rows.first().ok_or(JournalError::NotFound(update))?;
        if self.get::<i64>(row, 0)? != fence.0 {
            return Err(JournalError::Fenced { update });
        }
        if self.get::<i64>(row, 1)? + 1 != number {
            return Err(out_of_sequence);
        }
        self.insert_event(transaction, update, number, recorded).await?;
        if let Event::Concluded { ending } = &recorded.event {
            self.conclude(transaction, update, ending).await?;
        }
        Ok(())
    }

    async fn insert_event(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        number: i64,
        recorded: &Recorded,
    ) -> Result<(), JournalError> {
        let body = codec::encode(&recorded.event).map_err(JournalError::Codec)?;
        let version = i64::from(EVENT_VERSION);
        let sql = "INSERT INTO events (update_id, sequence, at, version, body) VALUES ($1, $2, $3, $4, $5)";
        let statement = transaction.prepare_cached(sql).await.map_err(|error| self.failed(error))?;
        let parameters: [Parameter<'_>; 5] = [&update.to_string(), &number, &recorded.at.to_string(), &version, &body];
        match transaction.execute(&statement, &parameters).await {
            Ok(_) => self.note_event(transaction, update, recorded).await,
            // Looked up before the wait for whoever has just appended.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Err(JournalError::OutOfSequence { update, sequence: recorded.sequence })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn conclude(
        &self,
        transaction: &Transaction<'_>,
        update: UpdateId,
        ending: &Ending,
    ) -> Result<(), JournalError> {
        let id = update.to_string();
        let verified = ending.is_new_in_force();
        let sql = "UPDATE updates SET open = false, verified = $2 WHERE id = $1";
        self.query(transaction, sql, &[&id, &verified]).await?;
        let obsolete: &[&str] = match Obsolete::after(ending) {
            Obsolete::AllButTheNewCredential => &[
                "DELETE FROM secrets WHERE update_id = $1 AND purpose <> 'new_credential'",
                "DELETE FROM secrets WHERE update_id IN (SELECT o.id FROM updates o JOIN updates u USING (key_store) \
                 WHERE u.id = $1 AND o.id <> $1 AND u.new_access_key_id IS NOT NULL)",
            ],
            Obsolete::None => &[],
            Obsolete::All => &["DELETE FROM secrets WHERE update_id = $1"],
        };
        for sql in obsolete {
            self.query(transaction, sql, &[&id]).await?;
        }
        Ok(())
    }

    fn earlier(&self, rows: &[Row], idempotency: &Idempotency) -> Result<Option<Created>, JournalError> {
        let Some(row) = rows.first() else { return Ok(None) };
        let id = self.read_id(&self.get::<String>(row, 0)?)?;
        let same = self.get::<String>(row, 1)? == idempotency.request_digest;
        Ok(Some(if same { Created::Existing(id) } else { Created::KeyReused(id) }))
    }

    fn recorded(&self, row: &Row) -> Result<Recorded, JournalError> {
        let version = u32::try_from(self.get::<i64>(row, 2)?).unwrap_or(u32::MAX);
        let event = codec::decode(version, &self.get::<String>(row, 3)?).map_err(JournalError::Codec)?;
        let at = Timestamp::parse(&self.get::<String>(row, 1)?).map_err(|error| self.failed(error))?;
        Ok(Recorded { sequence: u64::try_from(self.get::<i64>(row, 0)?).unwrap_or(0), at, event })
    }

    fn ids(&self, rows: &[Row]) -> Result<Vec<UpdateId>, JournalError> {
        rows.iter().map(|row| self.read_id(&self.get::<String>(row, 0)?)).collect()
    }
}
