//! Why a request is refused, and what Marathon answers then.

use serde_json::{Value, json};

use super::config::Personality;
use super::def::check::Violation;

/// A refusal; one variant per kind of answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// 400, the body is no JSON.
    #[error("invalid JSON: {0}")]
    Syntax(String),
    /// 400 (1.4) or 422, fields of a wrong type.
    #[error("wrong types")]
    Shape(Vec<Violation>),
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 403.
    #[error("{0}")]
    Forbidden(String),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 409, something of that id exists.
    #[error("{0}")]
    Exists(String),
    /// 409, running deployments hold the apps.
    #[error("locked by {0:?}")]
    Locked(Vec<String>),
    /// 422.
    #[error("not valid")]
    Invalid(Vec<Violation>),
    /// 422 with a plain message.
    #[error("{0}")]
    Unprocessable(String),
    /// 500.
    #[error("{0}")]
    Internal(String),
}

/// The message of a 409 by a lock; the placeholder is literal.
pub const LOCKED: &str = "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.";

impl Rejection {
    /// One violation.
    #[must_use]
    pub fn invalid(path: &str, error: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(path, error)])
    }

    /// Status and body.
    #[must_use]
    pub fn answer(&self, personality: Personality) -> (u16, Value) {
        let message = |text: &str| json!({"message": text});
        let details = |found: &[Violation]| found.iter().map(Violation::to_json).collect::<Vec<_>>();
        match self {
            Self::Syntax(text) => (400, json!({"message": "Invalid JSON", "details": text})),
            Self::Shape(found) if personality >= Personality::V1_8 => {
                (422, json!({"message": "Object is not valid", "details": details(found)}))
            }
            Self::Shape(found) => (400, json!({"message": "Invalid JSON", "details": details(found)})),
            Self::BadRequest(text) => (400, message(text)),
            Self::Forbidden(text) => (403, message(text)),
            Self::NotFound(text) => (404, message(text)),
            Self::Exists(text) => (409, message(text)),
            Self::Locked(ids) => {
                let ids: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
                (409, json!({"message": LOCKED, "deployments": ids}))
            }
            Self::Invalid(found) => (422, json!({"message": "Object is not valid", "details": details(found)})),
            Self::Unprocessable(text) => (422, message(text)),
            Self::Internal(text) => (500, message(text)),
        }
    }
}
