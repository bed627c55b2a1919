//! Orders between replicas, in a table.

use async_trait::async_trait;

use super::super::JournalError;
use super::super::codec::{self, EVENT_VERSION};
use super::super::orders::{LeftOrder, MOST_PATIENCE, OrderAnswer, OrderDesk, OrderId, OrderStanding};
use super::{Inner, PostgresJournal};
use crate::id::UpdateId;
use crate::update::Event;

#[async_trait]
impl OrderDesk for PostgresJournal {
    async fn leave(&self, update: UpdateId, order: &Event, seen: Option<u64>) -> Result<OrderId, JournalError> {
        let body = codec::encode(order).map_err(JournalError::Codec)?;
        // What was left long ago is of no use to anybody: the events tell what was recorded.
        let sql = "WITH old AS (DELETE FROM orders WHERE left_at < clock_timestamp() - interval '1 day') \
                   INSERT INTO orders (update_id, version, body, seen) VALUES ($1, $2, $3, $4) RETURNING id";
        let seen = seen.map(|seen| i64::try_from(seen).unwrap_or(i64::MAX));
        let rows = self.0.change(sql, &[&update.to_string(), &i64::from(EVENT_VERSION), &body, &seen]).await?;
        let row = rows.first().ok_or_else(|| self.0.failed("an order was not kept"))?;
        Ok(OrderId(self.0.get(row, 0)?))
    }

    async fn waiting(&self) -> Result<Vec<LeftOrder>, JournalError> {
        let sql = "SELECT id, update_id, version, body, seen FROM orders WHERE state = 'waiting' \
                   AND left_at > clock_timestamp() - make_interval(secs => $1) ORDER BY id LIMIT 100";
        let rows = self.0.rows(sql, &[&MOST_PATIENCE.as_secs_f64()]).await?;
        let read = |row| {
            let version = u32::try_from(self.0.get::<i64>(row, 2)?).unwrap_or(u32::MAX);
            let order = codec::decode(version, &self.0.get::<String>(row, 3)?).map_err(JournalError::Codec)?;
            let update = self.0.read_id(&self.0.get::<String>(row, 1)?)?;
            let seen = self.0.get::<Option<i64>>(row, 4)?.and_then(|seen| u64::try_from(seen).ok());
            Ok(LeftOrder { id: OrderId(self.0.get(row, 0)?), update, order, seen })
        };
        rows.iter().map(read).collect()
    }

    async fn take(&self, order: OrderId) -> Result<bool, JournalError> {
        let sql = "UPDATE orders SET state = 'taken' WHERE id = $1 AND state = 'waiting' \
                   AND left_at > clock_timestamp() - make_interval(secs => $2) RETURNING id";
        Ok(!self.0.change(sql, &[&order.0, &MOST_PATIENCE.as_secs_f64()]).await?.is_empty())
    }

    async fn answer(&self, order: OrderId, answer: OrderAnswer) -> Result<(), JournalError> {
        let word = match answer {
            OrderAnswer::Recorded => "recorded",
            OrderAnswer::Refused => "refused",
        };
        self.0.change("UPDATE orders SET state = $2 WHERE id = $1 AND state = 'taken'", &[&order.0, &word]).await?;
        Ok(())
    }

    async fn standing(&self, order: OrderId) -> Result<OrderStanding, JournalError> {
        self.0.standing(order).await
    }

    async fn withdraw(&self, order: OrderId) -> Result<OrderStanding, JournalError> {
        let sql = "UPDATE orders SET state = 'withdrawn' WHERE id = $1 AND state = 'waiting'";
        self.0.change(sql, &[&order.0]).await?;
        self.0.standing(order).await
    }
}

impl Inner {
    async fn standing(&self, order: OrderId) -> Result<OrderStanding, JournalError> {
        let rows = self.rows("SELECT state FROM orders WHERE id = $1", &[&order.0]).await?;
        let state: String = match rows.first() {
            Some(row) => self.get(row, 0)?,
            None => return Ok(OrderStanding::Withdrawn),
        };
        Ok(match state.as_str() {
            "waiting" => OrderStanding::Waiting,
            "taken" => OrderStanding::Taken,
            "recorded" => OrderStanding::Answered(OrderAnswer::Recorded),
            "refused" => OrderStanding::Answered(OrderAnswer::Refused),
            _ => OrderStanding::Withdrawn,
        })
    }
}
