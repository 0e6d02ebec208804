//! The resolver against lookups that we make up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

type Answers = Arc<Mutex<HashMap<&'static str, Result<&'static str, io::ErrorKind>>>>;

fn apps(networking: Networking, hosts: &[&str]) -> BTreeMap<AppId, Arc<App>> {
    let instance = |host: &&str| Instance {
        id: (*host).to_owned(),
        host: (*host).to_owned(),
        addr: None,
        ports: vec![],
        state: Default::default(),
        health: Default::default(),
    };
    let id = AppId::parse("/a").unwrap();
    let instances = hosts.iter().map(instance).collect();
    let app = App {
        id: id.clone(),
        labels: BTreeMap::new(),
        networking,
        ports: vec![],
        checks: vec![],
        instances,
        wanted: 1,
    };
    BTreeMap::from([(id, Arc::new(app))])
}

fn addresses(resolver: &Resolver, apps: &mut BTreeMap<AppId, Arc<App>>) -> Vec<Option<String>> {
    apps.values_mut().for_each(|app| resolver.fill(app));
    apps.values().flat_map(|app| &app.instances).map(|i| i.addr.map(|addr| addr.to_string())).collect()
}

fn resolver(answers: &Answers) -> Resolver {
    let answers = answers.clone();
    Resolver::new(Duration::from_millis(300), move |host| {
        let answer = answers.lock().unwrap().get(host.as_str()).copied();
        async move {
            let text = answer.unwrap_or(Err(io::ErrorKind::NotFound))?;
            Ok(text.split(',').map(|addr| addr.parse().unwrap()).collect())
        }
    })
}

#[test]
fn ipv4_first_and_what_is_used_stays() {
    let all: Vec<IpAddr> = ["fd00::1", "10.0.0.1", "10.0.0.2"].map(|a| a.parse().unwrap()).to_vec();
    assert_eq!(choose(&all, None), Some(all[1]));
    assert_eq!(choose(&all, Some(all[2])), Some(all[2]));
    assert_eq!(choose(&all, Some(all[0])), Some(all[1]));
    assert_eq!(choose(&all[..1], None), Some(all[0]));
    assert_eq!(choose(&[], None), None);
}

#[tokio::test]
async fn a_failure_keeps_the_last_address_and_each_refresh_asks_again() {
    let answers = Answers::default();
    answers.lock().unwrap().insert("one", Ok("10.0.0.1"));
    let mut resolver = resolver(&answers);
    let mut apps = apps(Networking::Bridge, &["one", "two", "10.9.9.9"]);
    resolver.want(&apps);
    assert_eq!(addresses(&resolver, &mut apps), [None, None, None], "literals are not ours");
    resolver.changed().await;
    assert_eq!(addresses(&resolver, &mut apps), [Some("10.0.0.1".to_owned()), None, None]);

    answers.lock().unwrap().insert("one", Err(io::ErrorKind::TimedOut));
    answers.lock().unwrap().insert("two", Ok("10.0.0.2"));
    let start = Instant::now();
    resolver.changed().await;
    assert!(start.elapsed() >= Duration::from_millis(200), "not before the refresh");
    let both = [Some("10.0.0.1".to_owned()), Some("10.0.0.2".to_owned()), None];
    assert_eq!(addresses(&resolver, &mut apps), both);

    answers.lock().unwrap().insert("one", Ok("10.0.0.7"));
    resolver.changed().await;
    assert_eq!(addresses(&resolver, &mut apps)[0].as_deref(), Some("10.0.0.7"));
}

#[tokio::test]
async fn only_so_many_lookups_at_once_and_none_for_container_networks() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let mut resolver = Resolver::new(REFRESH, |_| async {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        NOW.fetch_sub(1, Ordering::SeqCst);
        Ok(vec![IpAddr::from([10, 0, 0, 1])])
    });
    let hosts: Vec<_> = (0..100).map(|n| format!("host{n}")).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    resolver.want(&apps(Networking::Container, &hosts));
    resolver.settled().await;
    assert_eq!(MOST.load(Ordering::SeqCst), 0);
    let mut apps = apps(Networking::Host, &hosts);
    resolver.want(&apps);
    resolver.settled().await;
    assert_eq!(MOST.load(Ordering::SeqCst), AT_ONCE);
    assert!(addresses(&resolver, &mut apps).iter().all(Option::is_some));
}
