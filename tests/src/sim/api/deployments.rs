//! `/v2/deployments`: what is under way, and how to stop it.

use std::sync::Arc;

use super::super::http::{Request, Response};
use super::super::rejection::Rejection;
use super::super::shared::Shared;
use super::super::world::World;
use super::{Answer, deployed, not_allowed};

/// Everything below `/v2/deployments`.
pub(super) fn handle(shared: &Arc<Shared>, request: &Request, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("GET", []) => Ok(Response::json(200, &shared.look(World::deployments_json))),
        ("DELETE", [id]) if request.flag("force", false) => {
            let known = shared.act(|world, now| world.cancel(id, "The upgrade has been cancelled", now));
            match known {
                true => Ok(Response::new(202, "application/json", "")),
                false => Err(Rejection::NotFound(format!("DeploymentPlan {id} does not exist"))),
            }
        }
        ("DELETE", [id]) => shared.act(|world, now| {
            let accepted = world.roll_back(id, now)?;
            Ok(deployed(world, 200, &accepted))
        }),
        _ => Ok(not_allowed()),
    }
}
