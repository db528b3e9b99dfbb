//! Tags that travel: with a node, both ways, and when the two sides do not agree.

use serde_json::{Value, json};

use crate::support::{Dir, Replica, Run, Server, csv, syncline};

struct Place {
    dir: Dir,
    server: Server,
}

impl Place {
    /// A node, and a replica with three versions that is pushed to it.
    fn new() -> (Self, Replica) {
        let dir = Dir::new();
        let server = Server::start(&dir.path("hub"), &[]);
        let one = dir.replica("one");
        for version in 0..3 {
            one.import(&dir, &csv(version * 100, version * 100 + 100, 1));
        }
        let place = Self { dir, server };
        one.json(["push", &place.url()]);
        (place, one)
    }

    fn url(&self) -> String {
        format!("{}/d", self.server.url)
    }

    fn clone(&self, name: &str, more: &[&str]) -> (Replica, Value) {
        let (url, dir) = (self.url(), self.dir.text(name));
        let words = [&["clone", url.as_str(), dir.as_str(), "--json"], more].concat();
        (Replica(self.dir.path(name)), syncline(words).ok().json())
    }

    fn on(&self, words: &[&str]) -> Run {
        syncline([&["--on", &self.url(), "--json"], words].concat())
    }
}

/// The tags of a list, by name.
fn tags(names: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let list = names.as_array().expect("a list");
    list.iter().map(|name| (text(&name["name"]), text(&name["commit"]))).collect()
}

fn names(list: &Value) -> Vec<String> {
    tags(list).into_iter().map(|(name, _)| name).collect()
}

fn commit(replica: &Replica, version: &str) -> String {
    replica.json(["show", version])["id"].as_str().expect("an id").to_owned()
}

#[test]
fn tags_go_where_they_are_sent_and_come_with_what_they_name() {
    let (place, one) = Place::new();
    one.json(["tag", "v1", "HEAD~1"]);
    assert_eq!(one.json(["push"])["tags"]["sent"], json!([]), "a push alone sends none");
    assert_eq!(place.on(&["tag"]).ok().json()["names"], json!([]));
    let pushed = one.json(["push", "--tags"]);
    assert_eq!(tags(&pushed["tags"]["sent"]), [("v1".to_owned(), commit(&one, "HEAD~1"))]);
    assert_eq!(tags(&place.on(&["tag"]).ok().json()["names"]), tags(&one.json(["tag"])["names"]));
    assert_eq!(one.json(["push", "--tags"])["tags"]["sent"], json!([]), "it is there already");

    let (two, cloned) = place.clone("two", &[]);
    assert_eq!(names(&cloned["tags"]), ["v1"]);
    // Each has one that the other lacks; one sync is enough, and the branch need not move for it.
    two.json(["tag", "from-two"]);
    place.on(&["tag", "on-the-node", "main~2"]).ok();
    let synced = two.json(["sync"]);
    assert_eq!(names(&synced["tags"]["received"]), ["on-the-node"]);
    assert_eq!(names(&synced["tags"]["sent"]), ["from-two"]);
    assert_eq!(names(&one.json(["pull"])["tags"]["received"]), ["from-two", "on-the-node"]);
    assert_eq!(one.json(["tag"]), two.json(["tag"]));
    assert_eq!(two.json(["sync"])["round_trips"], 1, "there is nothing left to say");
    // They are no moves of a branch: `undo` finds what it found before.
    assert_eq!(one.json(["undo"])["undid"], "import");
}

#[test]
fn a_tag_takes_along_what_no_branch_leads_to() {
    let (place, one) = Place::new();
    one.json(["branch", "side", "HEAD~1"]);
    one.run(["checkout", "side"]).ok();
    one.import(&place.dir, &csv(5_000, 5_300, 2));
    one.json(["tag", "release"]);
    let root = one.root();
    one.run(["checkout", "main"]).ok();
    one.json(["branch", "--delete", "side"]);
    assert_eq!(names(&one.json(["push", "--tags"])["tags"]["sent"]), ["release"]);
    for _ in 0..2 {
        place.on(&["gc", "--grace", "0s"]).ok();
    }
    assert_eq!(place.on(&["root", "release"]).ok().json()["root"], root.as_str());
    assert_eq!(place.on(&["verify", "--deep"]).ok().json()["sound"], true);
}

#[test]
fn a_tag_that_is_elsewhere_there_is_told_and_stays() {
    let (place, one) = Place::new();
    let (two, _) = place.clone("two", &[]);
    one.json(["tag", "v1"]);
    one.json(["push", "--tags"]);
    two.json(["tag", "v1", "HEAD~1"]);
    two.json(["tag", "v2", "HEAD~2"]);
    two.import(&place.dir, &csv(900, 910, 1));
    let (ours, theirs) = (commit(&two, "v1"), commit(&one, "v1"));
    let clash = json!([{"name": "v1", "ours": ours, "theirs": theirs}]);
    let stays = || {
        assert_eq!(commit(&two, "v1"), ours);
        assert_eq!(place.on(&["show", "v1"]).ok().json()["id"], theirs.as_str());
    };
    // The branch and the other tag go, whatever becomes of the first one.
    let pushed = two.run(["push", "--tags", "--force", "--json"]).ends(4).json();
    assert_eq!((&pushed["tags"]["clashes"], names(&pushed["tags"]["sent"])), (&clash, vec!["v2".to_owned()]));
    assert_eq!(pushed["in_sync"], true);
    stays();
    one.import(&place.dir, &csv(950, 960, 1));
    let synced = one.json(["sync"]);
    assert_eq!((&synced["in_sync"], names(&synced["tags"]["received"])), (&json!(true), vec!["v2".to_owned()]));
    for verb in ["pull", "sync"] {
        let report = two.run([verb, "--json"]).ends(4).json();
        assert_eq!((&report["tags"]["clashes"], &report["in_sync"]), (&clash, &json!(true)), "{verb}");
        assert_eq!(two.root(), one.root());
        stays();
    }
    // The words name both, and what they say to do helps.
    let told = two.run(["sync", "-q"]).ends(4).stdout;
    assert!(told.contains("v1") && told.contains(&ours[..8]) && told.contains(&theirs[..8]), "{told}");
    let advice = told.lines().find_map(|line| line.trim().strip_prefix("here")).expect("what to do here");
    two.run(advice.trim().strip_prefix("syncline ").expect("a command").split(' ')).ok();
    assert_eq!(two.json(["sync"])["tags"]["clashes"], json!([]));
    assert_eq!(one.json(["tag"]), two.json(["tag"]));
}

#[test]
fn a_replica_that_holds_a_part_takes_and_gives_the_tags_of_that_part() {
    let (place, one) = Place::new();
    for (name, at) in [("old", "HEAD~2"), ("new", "HEAD")] {
        one.json(["tag", name, at]);
    }
    one.json(["push", "--tags"]);
    let (newest, cloned) = place.clone("newest", &["--depth", "1"]);
    assert_eq!(names(&cloned["tags"]), ["new"]);
    newest.json(["tag", "mine"]);
    assert_eq!(names(&newest.json(["sync"])["tags"]["sent"]), ["mine"]);
    assert_eq!(newest.json(["log"])["commits"].as_array().expect("commits").len(), 1, "it is as short as it was");
    // Whoever lacks the history cannot be sent a version without it.
    let other = place.dir.replica("other");
    other.import(&place.dir, &csv(0, 10, 9));
    other.json(["push", &format!("{}/other", place.server.url)]);
    newest.run(["push", "--tags", &format!("{}/other", place.server.url)]).ends(4);
    let (table, cloned) = place.clone("table", &["--table", "t"]);
    assert_eq!(names(&cloned["tags"]), ["mine", "new", "old"]);
    table.json(["tag", "of-a-part", "HEAD~1"]);
    assert_eq!(names(&table.json(["push", "--tags"])["tags"]["sent"]), ["of-a-part"]);
}

#[test]
fn a_tag_of_a_version_that_was_given_up_there_is_left_out() {
    let (place, one) = Place::new();
    one.json(["tag", "old", "HEAD~2"]);
    place.on(&["gc", "--keep-last", "1", "--grace", "0s"]).ok();
    let pushed = one.run(["push", "--tags", "--json"]).ends(3).json();
    assert_eq!(names(&pushed["tags"]["left"]), ["old"]);
    assert_eq!(place.on(&["tag"]).ok().json()["names"], json!([]));
    assert_eq!(place.on(&["verify", "--deep"]).ok().json()["sound"], true);
    // A sync says so, too, and is none the worse for it.
    assert_eq!(names(&one.json(["sync"])["tags"]["left"]), ["old"]);
    assert!(one.run(["sync", "-q"]).ok().stdout.contains("left out"));
}
