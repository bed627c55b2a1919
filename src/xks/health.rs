//! The answer to GetHealthStatus (XKS proxy API, GetHealthStatus, Response).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Violation, kind, object, parse, required, string, wrong_type};

/// A valid health answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// How many proxies serve this key store. The specification wants it positive; zero or less is kept here, for a
    /// check of its own.
    pub xks_proxy_fleet_size: i64,
    /// Who made the proxy.
    pub xks_proxy_vendor: String,
    /// What it is.
    pub xks_proxy_model: String,
    /// Who made the external key manager.
    pub ekm_vendor: String,
    /// 1 to 10 external key managers.
    pub ekm_fleet_details: Vec<EkmInstance>,
}

/// One external key manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EkmInstance {
    /// The vendor's name for it.
    pub id: String,
    /// The vendor's model.
    pub model: String,
    /// Its health, as the proxy tells it.
    pub health_status: EkmHealth,
}

/// `healthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EkmHealth {
    /// It works.
    Active,
    /// It works, but not well.
    Degraded,
    /// It does not work.
    Unavailable,
}

impl EkmHealth {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Active, Self::Degraded, Self::Unavailable];

    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Degraded => "DEGRADED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl HealthStatus {
    /// Reads the body of an answer with status 200; the error names the first violation. Unknown members are
    /// permitted: the specification may grow.
    pub fn parse(body: &[u8]) -> Result<Self, Violation> {
        let document = parse(body)?;
        let map = object(&document)?;
        let size = required(map, "", "xksProxyFleetSize")?;
        let xks_proxy_fleet_size =
            size.as_i64().ok_or_else(|| wrong_type("", "xksProxyFleetSize", "a whole number", size))?;
        let xks_proxy_vendor = string(map, "", "xksProxyVendor")?.to_owned();
        let xks_proxy_model = string(map, "", "xksProxyModel")?.to_owned();
        let ekm_vendor = string(map, "", "ekmVendor")?.to_owned();
        let details = required(map, "", "ekmFleetDetails")?;
        let details = details.as_array().ok_or_else(|| wrong_type("", "ekmFleetDetails", "an array", details))?;
        if !(1..=10).contains(&details.len()) {
            let rule = format!("must have 1 to 10 entries, has {}", details.len());
            return Err(Violation::at("/ekmFleetDetails", rule));
        }
        let ekm_fleet_details =
            details.iter().enumerate().map(|(index, value)| instance(index, value)).collect::<Result<_, _>>()?;
        Ok(Self { xks_proxy_fleet_size, xks_proxy_vendor, xks_proxy_model, ekm_vendor, ekm_fleet_details })
    }

    /// How many key managers have a status.
    pub fn count(&self, status: EkmHealth) -> usize {
        self.ekm_fleet_details.iter().filter(|instance| instance.health_status == status).count()
    }
}

fn instance(index: usize, value: &Value) -> Result<EkmInstance, Violation> {
    let base = format!("/ekmFleetDetails/{index}");
    let map = value
        .as_object()
        .ok_or_else(|| Violation::at(base.as_str(), format!("must be an object, is {}", kind(value))))?;
    let id = string(map, &base, "id")?.to_owned();
    let model = string(map, &base, "model")?.to_owned();
    let word = string(map, &base, "healthStatus")?;
    let health_status = EkmHealth::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
        let shown: String = word.chars().take(40).collect();
        Violation::at(format!("{base}/healthStatus"), format!("must be ACTIVE, DEGRADED or UNAVAILABLE, is {shown:?}"))
    })?;
    Ok(EkmInstance { id, model, health_status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "xksProxyFleetSize": 2, "xksProxyVendor": "Acme", "xksProxyModel": "P1", "ekmVendor": "Hsm Inc",
            "ekmFleetDetails": [{"id": "hsm-1", "model": "Luna", "healthStatus": "ACTIVE"}]
        })
    }

    fn violation(change: impl FnOnce(&mut Value)) -> String {
        let mut document = good();
        change(&mut document);
        HealthStatus::parse(document.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_good_answer_is_read() {
        let health = HealthStatus::parse(good().to_string().as_bytes()).unwrap();
        assert_eq!((health.xks_proxy_fleet_size, health.count(EkmHealth::Active)), (2, 1));
    }

    #[test]
    fn the_first_violation_is_named_by_its_pointer() {
        for name in ["xksProxyFleetSize", "xksProxyVendor", "xksProxyModel", "ekmVendor", "ekmFleetDetails"] {
            let told = violation(|v| {
                v.as_object_mut().unwrap().remove(name);
            });
            assert_eq!(told, format!("/{name}: is missing"));
        }
        assert_eq!(
            violation(|v| v["xksProxyFleetSize"] = json!("2")),
            "/xksProxyFleetSize: must be a whole number, is a string"
        );
        assert_eq!(
            violation(|v| v["xksProxyFleetSize"] = json!(1.5)),
            "/xksProxyFleetSize: must be a whole number, is a fractional number"
        );
        assert_eq!(
            violation(|v| v["ekmFleetDetails"] = json!([])),
            "/ekmFleetDetails: must have 1 to 10 entries, has 0"
        );
        assert_eq!(
            violation(|v| v["ekmFleetDetails"][0]["healthStatus"] = json!("active")),
            "/ekmFleetDetails/0/healthStatus: must be ACTIVE, DEGRADED or UNAVAILABLE, is \"active\""
        );
        assert_eq!(
            violation(|v| v["ekmFleetDetails"][0]["id"] = json!(null)),
            "/ekmFleetDetails/0/id: must be a string, is null"
        );
    }
}
