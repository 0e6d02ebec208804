//! The names of marathon-lb's templates.
//!
//! Labels by these names are recognised, so that their owners learn that they are not applied yet;
//! what the templates say is `render`'s business.

/// A template by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Its name without `HAPROXY_`.
    pub name: &'static str,
    /// Whether marathon-lb lets an app override it by a label.
    pub by_label: bool,
}

const fn label(name: &'static str) -> Template {
    Template { name, by_label: true }
}

const fn global(name: &'static str) -> Template {
    Template { name, by_label: false }
}

/// All 53. `HTTP_BACKEND_REDIR` is a value label too, and as a label that is what it means.
pub static TEMPLATES: &[Template] = &[
    global("HEAD"),
    label("USERLIST_HEAD"),
    global("HTTP_FRONTEND_HEAD"),
    global("HTTP_FRONTEND_APPID_HEAD"),
    global("HTTPS_FRONTEND_HEAD"),
    global("HTTPS_GROUPED_FRONTEND_HEAD"),
    global("HTTPS_GROUPED_VHOST_FRONTEND_ACL"),
    global("HTTPS_GROUPED_VHOST_BACKEND_HEAD"),
    global("HTTPS_GROUPED_VHOST_FRONTEND_HEAD"),
    label("FRONTEND_HEAD"),
    label("FRONTEND_BACKEND_GLUE"),
    label("BACKEND_HEAD"),
    label("BACKEND_HSTS_OPTIONS"),
    label("BACKEND_HTTP_OPTIONS"),
    label("BACKEND_STICKY_OPTIONS"),
    label("HTTP_BACKEND_PROXYPASS_GLUE"),
    label("HTTP_BACKEND_REVPROXY_GLUE"),
    global("HTTP_BACKEND_REDIR"),
    label("HTTP_BACKEND_NETWORK_ALLOWED_ACL"),
    global("HTTP_BACKEND_ACL_ALLOW_DENY"),
    label("TCP_BACKEND_NETWORK_ALLOWED_ACL"),
    global("TCP_BACKEND_ACL_ALLOW_DENY"),
    label("BACKEND_HTTP_HEALTHCHECK_OPTIONS"),
    label("BACKEND_TCP_HEALTHCHECK_OPTIONS"),
    label("BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS"),
    label("BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS"),
    label("BACKEND_SERVER_OPTIONS"),
    label("HTTP_FRONTEND_ACL"),
    label("HTTP_FRONTEND_ACL_WITH_AUTH"),
    label("HTTP_FRONTEND_ACL_WITH_PATH"),
    label("HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH"),
    label("HTTP_FRONTEND_ACL_ONLY"),
    label("HTTP_FRONTEND_ACL_ONLY_WITH_PATH"),
    label("HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH"),
    label("HTTP_FRONTEND_ROUTING_ONLY"),
    label("HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH"),
    label("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH"),
    label("HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH"),
    label("BACKEND_REDIRECT_HTTP_TO_HTTPS"),
    label("BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH"),
    label("HTTPS_FRONTEND_ACL"),
    label("HTTPS_FRONTEND_ACL_WITH_AUTH"),
    label("HTTPS_FRONTEND_ACL_WITH_PATH"),
    label("HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH"),
    label("HTTPS_FRONTEND_ACL_ONLY_WITH_PATH"),
    label("HTTP_FRONTEND_APPID_ACL"),
    label("MAP_HTTP_FRONTEND_ACL"),
    label("MAP_HTTP_FRONTEND_ACL_ONLY"),
    label("MAP_HTTPS_FRONTEND_ACL"),
    label("MAP_HTTP_FRONTEND_APPID_ACL"),
    global("HTTPS_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH"),
    global("HTTPS_FRONTEND_AUTH_ACL_ONLY"),
    global("HTTPS_FRONTEND_AUTH_REQUEST_ONLY"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_53_and_each_once() {
        let names: BTreeSet<_> = TEMPLATES.iter().map(|template| template.name).collect();
        assert_eq!((names.len(), TEMPLATES.len()), (53, 53));
    }
}
