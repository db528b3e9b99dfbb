//! Whom transactions on strict tables are sent to, and who may certify and write: hubs of a mesh, copies, revoked replicas.

use super::super::super::key;
use super::*;
use crate::location::Location;

/// Hubs that are connected to the first one, which certifies `t`.
fn mesh(others: usize) -> (Vec<Place>, Vec<Cable>) {
    let hubs: Vec<Place> = (0..=others).map(|_| Place::hub()).collect();
    hubs[0].strict("t");
    let cables = hubs[1..].iter().map(|hub| Cable::between(&hubs[0].engine(), &hub.engine())).collect();
    hubs[1..].iter().for_each(|hub| hub.settled(&hubs[0]));
    (hubs, cables)
}

#[test]
fn a_hub_asks_each_hub_of_its_mesh_for_itself() {
    let (hubs, _cables) = mesh(2);
    let (certifier, asking, between) = (&hubs[0], &hubs[1], &hubs[2]);
    // The other one has no way at all: who is asked directly does not need one.
    let (wrong, right) = (Direct::at("http://a", &between.engine(), 0), Direct::at("http://b", &certifier.engine(), 0));
    asking.engine().add_way(wrong.clone(), Leads::Mesh);
    refused(asking.put("x", 1, None, &[]), Kind::Unavailable, "certifies the strict table");
    asking.engine().add_way(right.clone(), Leads::Mesh);
    asking.put("x", 1, None, &[]).expect("it certifies");
    assert_eq!(strictly(asking, "t", 5_000).expect("it is asked"), 1);
    // From now on it is asked first, and alone.
    let before = wrong.asked.load(Ordering::Relaxed);
    asking.put("y", 1, None, &[]).expect("it certifies");
    assert_eq!(wrong.asked.load(Ordering::Relaxed), before);
    let right: Arc<dyn Way> = right;
    asking.engine().remove_way(&right);
    refused(asking.put("z", 1, None, &[]), Kind::Unavailable, "nothing was written");
    assert_eq!(certifier.all().0.len(), 2);
}

#[test]
fn what_a_hub_cannot_bring_to_the_certifier_another_one_sends_on() {
    let (hubs, _cables) = mesh(2);
    let (certifier, asking, between) = (&hubs[0], &hubs[1], &hubs[2]);
    asking.engine().add_way(Direct::at("http://certifier", &certifier.engine(), 9), Leads::Mesh);
    asking.engine().add_way(Direct::at("http://between", &between.engine(), 0), Leads::Mesh);
    between.engine().add_way(Direct::at("http://certifier", &certifier.engine(), 0), Leads::Mesh);
    between.engine().add_way(Direct::at("http://asking", &asking.engine(), 0), Leads::Mesh);
    asking.put("x", 1, None, &[]).expect("passed on");
    assert_eq!((strictly(asking, "t", 5_000).expect("asked on"), certifier.all().0.len()), (1, 1));
}

#[test]
fn nobody_is_asked_again_and_again_when_the_certifier_is_away() {
    let (hubs, cables) = mesh(5);
    drop(cables);
    let ways: Vec<Vec<Arc<Direct>>> = hubs[1..]
        .iter()
        .enumerate()
        .map(|(me, hub)| {
            let urls = ["http://1", "http://2", "http://3", "http://4", "http://5"];
            let others = hubs[1..].iter().zip(urls).enumerate().filter(|(at, _)| *at != me);
            others
                .map(|(_, (other, url))| {
                    let way = Direct::at(url, &other.engine(), 0);
                    hub.engine().add_way(way.clone(), Leads::Mesh);
                    way
                })
                .collect()
        })
        .collect();
    refused(hubs[1].put("x", 1, None, &[]), Kind::Unavailable, "nothing was written");
    let asked: u64 = ways.iter().flatten().map(|way| way.asked.load(Ordering::Relaxed) / 5).sum();
    // Each of four alone, then each of them to send it on, which asks three others and this one.
    assert!((8..=24).contains(&asked), "{asked}");
}

#[test]
fn a_strict_read_asks_the_hub_that_is_connected_and_no_other() {
    let (hubs, _cables) = mesh(1);
    hubs[0].table("u", "many").expect("a table");
    hubs[1].settled(&hubs[0]);
    let spoke = Place::hub();
    spoke.engine().set_upstream(Some("http://home")).expect("a file");
    spoke.engine().add_way(Direct::at("http://home", &hubs[0].engine(), 0), Leads::On);
    let _cable = Cable::to(("http://other", &hubs[1].engine()), &spoke.engine());
    spoke.settled(&hubs[0]);
    let other = Direct::at("http://other", &hubs[1].engine(), 9);
    spoke.engine().add_way(other, Leads::On);
    refused(strictly(&spoke, "u", 5_000), Kind::Unavailable, "away");
    spoke.engine().add_way(Direct::at("http://other", &hubs[1].engine(), 0), Leads::On);
    strictly(&spoke, "u", 5_000).expect("it is asked");
}

#[test]
fn a_position_that_nobody_has_read_is_not_told_as_read() {
    let hub = Place::hub();
    hub.strict("t");
    let (spoke, _cable) = Place::spoke(&hub, 0);
    assert_eq!(spoke.put("a", 1, None, &[]).expect("written").read, None, "it has not said what it had read");
    let read = spoke.position();
    assert!(spoke.put("a", 2, Some(&read), &[]).expect("written").read.is_some());
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy")),
        }
    }
}

#[test]
fn a_copy_of_a_certifier_certifies_nothing_until_somebody_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
    let open = |path: &std::path::Path| {
        let replica = Replica::open(&Location::Path(path.to_owned()), Env::default()).expect("it is there");
        Place { _dir: tempfile::tempdir().expect("a directory"), replica }
    };
    drop(Replica::init(&one, true, Env::default()).expect("a new directory"));
    {
        let certifier = open(&one);
        certifier.strict("t");
        certifier.put("a", 1, None, &[]).expect("it certifies");
    }
    copy(&one, &other);
    let (certifier, twin) = (open(&one), open(&other));
    assert_eq!(certifier.id(), twin.id());
    refused(twin.put("a", 2, None, &[]), Kind::Conflict, "goes on under a new name");
    certifier.put("a", 2, None, &[]).expect("nothing has changed for it");
    twin.set("t", Wanted { take_over: true, ..Wanted::default() }).expect("somebody has said so");
    twin.put("a", 3, None, &[]).expect("it certifies");
    drop(twin);
    open(&other).put("a", 4, None, &[]).expect("and goes on to");
}

#[test]
fn who_is_revoked_has_nothing_certified() {
    let hub = Place::hub();
    hub.strict("t");
    let (spoke, _cable) = Place::spoke(&hub, 0);
    spoke.put("a", 1, None, &[]).expect("written");
    let keys = key::run(&spoke.replica, &key::Request::Ls).expect("keys").keys;
    let of_spoke = keys.first().and_then(|key| key.key.clone()).expect("its own");
    key::run(&hub.replica, &key::Request::Revoke { key: of_spoke, reason: None }).expect("revoked");
    spoke.settled(&hub);
    refused(spoke.put("a", 2, None, &[]), Kind::Denied, "revoked");
    refused(spoke.delete("a", None), Kind::Denied, "revoked");
    assert_eq!(hub.all().0["a"], 1);
}
