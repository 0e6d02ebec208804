//! Faults on command: what a member answers in place of the truth.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// `{"apps":[]}`.
    EmptyList,
    /// A list that lacks this fraction of the apps.
    PartialList {
        /// 0 to 1.
        drop: f64,
    },
    /// One app (the first, or this one) with wrong types.
    WrongTypes {
        /// Which.
        app: Option<String>,
    },
    /// Bytes that are no UTF-8 inside a string of the true answer.
    NotUtf8,
    /// A list padded to this size.
    Huge {
        /// At least so many.
        bytes: usize,
    },
    /// 503 with a JSON body.
    Unavailable,
    /// 200 without a body.
    EmptyBody,
    /// 502 as a page.
    BadGateway,
    /// Bytes that are no HTTP.
    Garbage,
    /// The true answer, cut in the middle of its JSON, framed as whole.
    Truncated,
    /// The true answer, late.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// No answer.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// 401 as from an expired token.
    Unauthorized,
}

impl Fault {
    /// Whether it bends the list of apps rather than replacing the answer.
    #[must_use]
    pub fn bends_list(&self) -> bool {
        matches!(self, Self::EmptyList | Self::PartialList { .. } | Self::WrongTypes { .. } | Self::Huge { .. })
    }
}

/// A fault with its scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// At which member; all without.
    #[serde(default)]
    pub member: Option<usize>,
    /// How often; until cleared without.
    #[serde(default)]
    pub count: Option<u32>,
    /// For paths that begin so; by default everything but `/v2/events`.
    #[serde(default)]
    pub path: Option<String>,
}

impl Order {
    /// At all members, for every request but event streams, until cleared.
    #[must_use]
    pub fn of(fault: Fault) -> Self {
        Self { fault, member: None, count: None, path: None }
    }

    fn hits(&self, member: usize, path: &str) -> bool {
        let here = self.member.is_none_or(|only| only == member) && self.count != Some(0);
        here && match &self.path {
            Some(prefix) => path.starts_with(prefix.as_str()),
            None if self.fault.bends_list() => path.trim_end_matches('/') == "/v2/apps",
            None => path != "/v2/events",
        }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Order>>);

impl Faults {
    /// Puts a fault in force.
    pub fn add(&self, order: Order) {
        self.lock().push(order);
    }

    /// Ends all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The fault that this request meets, if any; counts it.
    pub fn meet(&self, member: usize, path: &str) -> Option<Fault> {
        let mut orders = self.lock();
        let order = orders.iter_mut().find(|order| order.hits(member, path))?;
        if let Some(count) = &mut order.count {
            *count -= 1;
        }
        let fault = order.fault.clone();
        orders.retain(|order| order.count != Some(0));
        Some(fault)
    }

    /// What is in force.
    #[must_use]
    pub fn list(&self) -> Vec<Order> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
