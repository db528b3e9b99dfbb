//! Rows that several write at once, against a model that knows every write and who had read what.

use std::collections::BTreeSet;

use proptest::prelude::*;
use syncline_base::Hlc;
use syncline_sync::live::{Dot, Origin, Sibling, Stamp, Tag};

use super::super::super::cells::Cells as Raw;
use super::super::super::definition::{Granularity, Resolver};
use super::super::super::resolve::Seen;
use super::super::super::resolve::views::{View, standing};
use super::*;

/// Transactions by number.
type Set = BTreeSet<usize>;

/// A transaction on the one row that there is.
#[derive(Debug, Clone)]
struct Txn {
    dot: Dot,
    read: Set,
    /// What was there when it was made.
    there: Set,
    /// `None` deletes.
    value: Option<Bytes>,
    /// Columns that it wrote, with what.
    wrote: BTreeMap<&'static str, Option<i64>>,
    /// How much it added.
    added: i64,
    /// Whether a hub has taken it in.
    taken: bool,
}

/// Replicas, and what each of them has had.
struct World {
    table: Definition,
    txns: Vec<Txn>,
    /// What each has, and had at times that a reader may have read it.
    has: Vec<Vec<Set>>,
    /// Whether somebody wrote who had read of a deletion: what was before is not known to siblings any more.
    again: bool,
}

const COLUMNS: [&str; 3] = ["a", "b", "c"];

fn merged(resolver: &str, granularity: Granularity) -> Definition {
    let plain = table(&["id int64", "a int64", "b int64", "c int64", "n int64"]);
    plain.set(Settings { resolver: resolver.parse::<Resolver>().unwrap(), granularity, ..Settings::default() }).unwrap()
}

impl World {
    fn new(table: Definition, replicas: usize) -> Self {
        Self { table, txns: Vec::new(), has: vec![vec![Set::new()]; replicas], again: false }
    }

    fn now(&self, replica: usize) -> &Set {
        self.has[replica].last().unwrap()
    }

    /// What the core keeps: those that set the row, and that nobody who had read them wrote over.
    fn siblings_in(&self, set: &Set) -> Vec<usize> {
        let over = |txn: &usize| set.iter().any(|other| self.txns[*other].read.contains(txn));
        set.iter().copied().filter(|txn| self.txns[*txn].value.is_some() && !over(txn)).collect()
    }

    fn siblings(&self, set: &Set) -> Vec<Sibling> {
        let sibling = |at: usize| {
            let Txn { dot, value, taken, .. } = &self.txns[at];
            let stamp = Stamp { hub: Origin::from_bytes([99; 16]), n: at as u64 + 1 };
            Sibling {
                dot: *dot,
                stamps: taken.then_some(stamp).into_iter().collect(),
                time: Hlc::from_ms(at as u64 % 7),
                value: value.clone().unwrap(),
            }
        };
        let mut all: Vec<Sibling> = self.siblings_in(set).into_iter().map(sibling).collect();
        all.sort_by_key(|sibling| sibling.dot);
        all
    }

    fn seen(&self, replica: usize) -> Option<Seen> {
        self.table.seen(&self.siblings(self.now(replica)), None)
    }

    /// A write on a replica by somebody who has read what it had `ago` steps ago.
    fn write(&mut self, replica: usize, ago: usize, json: Option<&str>) -> Result<()> {
        let states = &self.has[replica];
        let read = states[states.len() - 1 - ago.min(states.len() - 1)].clone();
        let origin = Origin::from_bytes([replica as u8 + 1; 16]);
        let seq = self.txns.iter().filter(|txn| txn.dot.origin == origin).count() as u64 + 1;
        let dot = Dot { origin, seq, tag: Tag::from_u64(self.txns.len() as u64 + 1) };
        let siblings = self.siblings(self.now(replica));
        let value = json.map(|json| -> Result<Bytes> {
            // As a node knows it: by stamps, or by the chain of its own transactions that no hub has taken in.
            let has_read = |sibling: &Sibling| {
                let is = |txn: &Txn| txn.dot.origin == sibling.dot.origin && txn.dot.seq == sibling.dot.seq;
                let at = self.txns.iter().position(is).unwrap();
                read.contains(&at)
                    && (!sibling.stamps.is_empty() || sibling.dot.origin == origin && !self.txns[at].taken)
            };
            let base = self.table.seen(&siblings, None).map(|seen| self.table.base(&siblings, &seen, &has_read));
            let mut writes = self.table.writes(json.as_bytes(), &|_| base.clone())?;
            Ok(writes.pop().unwrap().value.unwrap())
        });
        let value = value.transpose()?;
        self.again |= value.is_some() && read.iter().any(|at| self.txns[*at].value.is_none());
        let there = self.now(replica).clone();
        let at = self.txns.len();
        self.txns.push(Txn { dot, read, there, value, wrote: BTreeMap::new(), added: 0, taken: false });
        let mut now = self.now(replica).clone();
        now.insert(at);
        self.has[replica].push(now);
        Ok(())
    }

    /// One replica gets what another has.
    fn sync(&mut self, from: usize, to: usize) {
        let both: Set = self.now(from).union(self.now(to)).copied().collect();
        both.iter().for_each(|at| self.txns[*at].taken = true);
        self.has[to].push(both);
    }

    /// The writes that a column consists of: a sibling's own, else those of the siblings that it was made on.
    fn alive(&self, set: &Set, column: &str) -> Set {
        let (mut alive, mut open) = (Set::new(), self.siblings_in(set));
        while let Some(next) = open.pop() {
            if alive.insert(next) && !self.txns[next].wrote.contains_key(column) {
                open.extend(self.siblings_in(&self.txns[next].there));
            }
        }
        alive.retain(|at| self.txns[*at].wrote.contains_key(column));
        alive
    }

    /// What stands of a column, by the history alone.
    fn model(&self, set: &Set, column: &str) -> BTreeSet<(Dot, Option<i64>)> {
        let alive = self.alive(set, column);
        let over = |at: &usize| alive.iter().any(|other| self.txns[*other].read.contains(at));
        alive.iter().filter(|at| !over(at)).map(|at| (self.txns[*at].dot, self.txns[*at].wrote[column])).collect()
    }

    /// Whether a sibling was made where somebody who had read a transaction had deleted its row: what others carry along of it need not come
    /// back. Its writer need not have read the deletion: it was there, and what the sibling carries along is what was there.
    fn is_deleted(&self, set: &Set, dot: &Dot) -> bool {
        let deletes =
            |d: &usize| self.txns[*d].value.is_none() && self.txns[*d].read.iter().any(|at| self.txns[*at].dot == *dot);
        self.siblings_in(set).into_iter().any(|sibling| self.txns[sibling].there.iter().any(deletes))
    }

    /// What stands of a column, by what siblings say.
    fn stands(&self, set: &Set, column: &str) -> BTreeSet<(Dot, Option<i64>)> {
        let siblings = self.siblings(set);
        let views = View::all(&siblings).unwrap();
        let all = standing(&views);
        let claims = all.get(&CellId::of(column)).cloned().unwrap_or_default();
        let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse().unwrap();
        claims.iter().map(|claim| (claim.dot.unwrap(), claim.text.map(number))).collect()
    }
}

/// What stands of a column, with all nulls as one: nulls beside each other are no conflict, and whether one more null is a write of its own,
/// nobody can see.
fn one_null(stands: BTreeSet<(Dot, Option<i64>)>) -> BTreeSet<Option<(Dot, Option<i64>)>> {
    stands.into_iter().map(|(dot, text)| text.map(|_| (dot, text))).collect()
}

fn cells(seen: &Seen) -> BTreeMap<CellId, String> {
    let all = Raw::read(&seen.value).unwrap().all().unwrap();
    all.into_iter().map(|(cell, text)| (cell, String::from_utf8(text.to_vec()).unwrap())).collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// Replica, how old what was read is, which columns, and which of them become null.
    Put(usize, usize, u8, u8),
    Delete(usize),
    Sync(usize, usize),
}

fn steps(ago: usize, deletes: bool) -> impl Strategy<Value = Vec<Step>> {
    let put = (0..3_usize, 0..=ago, 1..8_u8, any::<u8>()).prop_map(|(at, ago, columns, null)| {
        // Mostly numbers.
        Step::Put(at, ago, columns, if null < 60 { null & 7 } else { 0 })
    });
    let sync = (0..3_usize, 0..3_usize).prop_map(|(from, to)| Step::Sync(from, to));
    let delete = (0..3_usize).prop_map(Step::Delete);
    proptest::collection::vec(prop_oneof![6 => put, 5 => sync, u32::from(deletes) => delete], 1..30)
}

/// Runs steps; every written number is another one.
fn run(steps: &[Step]) -> World {
    let mut world = World::new(merged("last-writer", Granularity::Column), 3);
    for step in steps {
        match *step {
            Step::Sync(from, to) => world.sync(from, to),
            Step::Delete(at) => world.write(at, 0, None).unwrap(),
            Step::Put(at, ago, columns, null) => {
                let states = &world.has[at];
                let read = states[states.len() - 1 - ago.min(states.len() - 1)].clone();
                // Who empties a column of which is not known what was read has written it, to be safe.
                let null = if ago == 0 { null } else { 0 };
                let (mut line, mut wrote) = ("{\"id\":1".to_owned(), BTreeMap::new());
                for (nth, column) in COLUMNS.into_iter().enumerate().filter(|(nth, _)| columns >> nth & 1 == 1) {
                    let value = (null >> nth & 1 == 0).then_some((world.txns.len() * 3 + nth) as i64);
                    line.push_str(&format!(",\"{column}\":{}", value.map_or("null".to_owned(), |n| n.to_string())));
                    // Null where there is nothing, or nothing but nulls of several, is no write.
                    let mut was = world.model(&read, column);
                    was.retain(|(dot, _)| !world.is_deleted(&read, dot));
                    if value.is_some() || was.iter().any(|(_, text)| text.is_some()) {
                        wrote.insert(column, value);
                    }
                }
                world.write(at, ago, Some(&format!("{line}}}"))).unwrap();
                world.txns.last_mut().unwrap().wrote = wrote;
            }
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Of each column exactly the writes stand that nobody who had read them wrote over.
    #[test]
    fn columns_are_each_for_itself(steps in steps(0, true)) {
        let world = run(&steps);
        for replica in 0..3 {
            let set = world.now(replica);
            let seen = world.seen(replica);
            prop_assert_eq!(seen.is_none(), world.siblings_in(set).is_empty());
            let mut conflict = false;
            for column in COLUMNS {
                let (mut model, stands) = (world.model(set, column), world.stands(set, column));
                if world.again {
                    model.retain(|(dot, _)| !world.is_deleted(set, dot));
                }
                let texts: BTreeSet<Option<i64>> = stands.iter().map(|(_, text)| *text).collect();
                let (model, stands) = (one_null(model), one_null(stands));
                if world.again {
                    prop_assert!(stands.is_superset(&model), "{column}: {stands:?} is not all of {model:?}");
                } else {
                    prop_assert_eq!(&stands, &model, "{}", column);
                }
                conflict |= texts.len() > 1;
                if let Some(seen) = &seen {
                    let shown = cells(seen).get(&CellId::of(column)).map(|text| text.parse::<i64>().unwrap());
                    prop_assert!(texts.contains(&shown) || texts.is_empty() && shown.is_none());
                }
            }
            if let Some(seen) = seen {
                prop_assert_eq!(seen.conflict, conflict);
            }
        }
    }

    /// Who has read less than is there loses nobody's write, and nothing is seen that was not written.
    #[test]
    fn who_has_read_less_overwrites_less(steps in steps(3, true)) {
        let world = run(&steps);
        for (replica, column) in (0..3).flat_map(|replica| COLUMNS.map(|column| (replica, column))) {
            let set = world.now(replica);
            let (mut model, stands) = (world.model(set, column), world.stands(set, column));
            // To empty what somebody else has emptied meanwhile is to leave it.
            model.retain(|(dot, text)| text.is_some() && !world.is_deleted(set, dot));
            prop_assert!(stands.is_superset(&model), "{column}: {stands:?} is not all of {model:?}");
            for (dot, text) in stands {
                let txn = world.txns.iter().find(|txn| txn.dot == dot).unwrap();
                prop_assert!(txn.wrote.get(column) == Some(&text) || !txn.wrote.contains_key(column) && text.is_none());
            }
        }
    }

    /// The order of siblings does not matter, and replicas that have the same show the same.
    #[test]
    fn what_is_seen_is_of_the_set(steps in steps(3, true), order in any::<u64>(), resolver in 0..5_usize) {
        let mut world = run(&steps);
        for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 1)] {
            world.sync(from, to);
        }
        let resolver = ["last-writer", "first-writer", "max:a", "min:b", "origin:02020202,01010101"][resolver];
        world.table = merged(resolver, Granularity::Column);
        prop_assert_eq!(world.seen(0), world.seen(1));
        prop_assert_eq!(world.seen(0), world.seen(2));
        let mut siblings = world.siblings(world.now(0));
        siblings.sort_by_key(|sibling| sibling.dot.tag.as_u64().wrapping_mul(order | 1));
        prop_assert_eq!(world.table.seen(&siblings, None).map(|seen| (seen.value, seen.columns)),
            world.seen(0).map(|seen| (seen.value, seen.columns)));
    }

    /// Every addition counts once.
    #[test]
    fn counters_add_up(steps in proptest::collection::vec((0..3_usize, 0..3_usize, 0..4_usize, -9..9_i64, 0..6_u8), 1..40), by_column in any::<bool>()) {
        let granularity = if by_column { Granularity::Column } else { Granularity::Row };
        let mut world = World::new(merged("counter:n", granularity), 3);
        for (at, from, ago, number, what) in steps {
            let states = &world.has[at];
            let read = states[states.len() - 1 - ago.min(states.len() - 1)].clone();
            let before: i64 = read.iter().map(|txn| world.txns[*txn].added).sum();
            let (line, added) = match what {
                0 | 1 => { world.sync(from, at); continue }
                2 => (format!("{{\"id\":1,\"n\":{number}}}"), number - before),
                3 => (format!("{{\"id\":1,\"a\":{number}}}"), 0),
                _ => (format!("{{\"id\":1,\"n\":{{\"add\":{number}}}}}"), number),
            };
            // What nobody knows the difference to is refused.
            if world.write(at, ago, Some(&line)).is_ok() {
                world.txns.last_mut().unwrap().added = added;
            } else {
                prop_assert_eq!(what, 2);
            }
        }
        for replica in 0..3 {
            let sum: i64 = world.now(replica).iter().map(|txn| world.txns[*txn].added).sum();
            let Some(seen) = world.seen(replica) else { continue };
            let shown = cells(&seen).get(&CellId::of("n")).map_or(0, |text| text.parse::<i64>().unwrap());
            prop_assert_eq!(shown, sum);
        }
    }
}

fn world(resolver: &str, granularity: Granularity) -> World {
    World::new(merged(resolver, granularity), 2)
}

#[test]
fn two_clients_of_one_node_that_read_the_same_change_two_columns() {
    let mut world = world("last-writer", Granularity::Column);
    world.write(0, 0, Some(r#"{"id":1,"a":1,"b":1,"c":1}"#)).unwrap();
    let whole = world.txns[0].value.clone().unwrap();
    assert_eq!(whole[0], cells::VERSION, "a row that was written once costs nothing more");
    world.sync(0, 1);
    world.sync(1, 0);
    world.write(0, 0, Some(r#"{"id":1,"a":2}"#)).unwrap();
    world.write(0, 1, Some(r#"{"id":1,"b":2}"#)).unwrap();
    world.write(0, 2, Some(r#"{"id":1,"c":2}"#)).unwrap();
    let seen = world.seen(0).unwrap();
    assert!(!seen.conflict, "{seen:?}");
    assert_eq!(world.siblings(world.now(0)).len(), 3);
    assert_eq!(cells(&seen).into_values().collect::<Vec<_>>(), ["2", "2", "2"]);
    assert!(world.txns[1].value.as_ref().unwrap().len() < whole.len() + 80);
    world.write(0, 3, Some(r#"{"id":1,"b":3}"#)).unwrap();
    let seen = world.seen(0).unwrap();
    assert_eq!(seen.columns, [CellId::of("b")]);
    let siblings = world.siblings(world.now(0));
    let rivals = world.table.rivals(&siblings, &seen);
    assert_eq!(rivals.iter().map(|rival| rival.dot.seq).collect::<BTreeSet<_>>(), [3, 5].into());
    // To write another column decides nothing; to write this one does.
    world.write(0, 0, Some(r#"{"id":1,"c":9}"#)).unwrap();
    assert_eq!(world.siblings(world.now(0)).len(), 1);
    assert!(world.seen(0).unwrap().conflict);
    world.write(0, 0, Some(r#"{"id":1,"b":9}"#)).unwrap();
    assert!(!world.seen(0).unwrap().conflict);
}

/// Else who is ahead would keep a column by what its next transaction carries along.
#[test]
fn a_clock_that_hubs_do_not_believe_is_not_believed_of_what_is_carried_along() {
    let mut world = world("last-writer", Granularity::Column);
    world.write(0, 0, Some(r#"{"id":1,"a":1}"#)).unwrap();
    let base = world.siblings(world.now(0));
    let ahead: Vec<Sibling> =
        base.into_iter().map(|sibling| Sibling { time: Hlc::from_ms(1 << 40), ..sibling }).collect();
    let seen = world.table.seen(&ahead, None).unwrap();
    let base = world.table.base(&ahead, &seen, &|_| true);
    let write = world.table.writes(br#"{"id":1,"b":2}"#, &|_| Some(base.clone())).unwrap().remove(0);
    let dot = Dot { seq: 2, ..ahead[0].dot };
    let next = [Sibling { dot, stamps: Vec::new(), time: Hlc::from_ms(7), value: write.value.unwrap() }];
    let views = View::all(&next).unwrap();
    assert!(standing(&views).values().flatten().all(|claim| claim.time == Hlc::from_ms(7)));
}

#[test]
fn who_puts_a_whole_row_writes_what_changed() {
    let mut world = world("last-writer", Granularity::Column);
    world.write(0, 0, Some(r#"{"id":1,"a":1,"b":1,"c":1}"#)).unwrap();
    world.sync(0, 1);
    world.write(1, 0, Some(r#"{"id":1,"a":1,"b":2,"c":1}"#)).unwrap();
    world.write(0, 0, Some(r#"{"id":1,"a":2,"b":1,"c":null}"#)).unwrap();
    world.sync(1, 0);
    let seen = world.seen(0).unwrap();
    assert!(!seen.conflict);
    assert_eq!(cells(&seen).into_values().collect::<BTreeSet<_>>(), ["2".to_owned()].into());
    assert_eq!(cells(&seen).len(), 2);
}

#[test]
fn a_row_that_comes_back_comes_back_whole() {
    let mut world = world("last-writer", Granularity::Column);
    world.write(0, 0, Some(r#"{"id":1,"a":1,"b":1,"c":1}"#)).unwrap();
    world.sync(0, 1);
    world.write(0, 0, None).unwrap();
    world.write(1, 0, Some(r#"{"id":1,"a":2}"#)).unwrap();
    world.sync(1, 0);
    let seen = world.seen(0).unwrap();
    assert_eq!(cells(&seen).len(), 3, "{seen:?}");
}

#[test]
fn a_counter_that_was_not_read_cannot_be_set() {
    let mut world = world("counter:n", Granularity::Row);
    world.write(0, 0, Some(r#"{"id":1,"n":1}"#)).unwrap();
    let error = world.write(0, 1, Some(r#"{"id":1,"n":7}"#)).unwrap_err().to_string();
    assert!(error.contains("line 1: row 1") && error.contains(r#"{"n": {"add": 1}}"#), "{error}");
    for bad in ["9223372036854775807", "\"x\"", "1.5", "null", "{}"] {
        assert!(world.write(0, 0, Some(&format!("{{\"id\":1,\"n\":{{\"add\":{bad}}}}}"))).is_err(), "{bad}");
    }
    world.write(0, 0, Some(r#"{"id":1,"n":null}"#)).unwrap();
    assert_eq!(cells(&world.seen(0).unwrap())[&CellId::of("n")], "0");
}

#[test]
fn lists_are_united() {
    let lists = |ty: &str, texts: &[&str]| {
        let plain = table(&["id int64", &format!("tags {ty}"), "name utf8"]);
        let resolver = Resolver::Union { column: "tags".into() };
        let table = plain.set(Settings { resolver, ..Settings::default() }).unwrap();
        let mut world = World::new(table, texts.len());
        for (replica, text) in texts.iter().enumerate() {
            world.write(replica, 0, Some(text)).unwrap();
            world.sync(replica, 0);
        }
        let seen = world.seen(0).unwrap();
        (cells(&seen).get(&CellId::of("tags")).cloned(), seen.conflict)
    };
    let row = |tags: &str| format!("{{\"id\":1,\"tags\":{tags}}}");
    let of = |ty: &str, tags: &[&str]| {
        let rows: Vec<String> = tags.iter().map(|tags| row(tags)).collect();
        lists(ty, &rows.iter().map(|row| &row[..]).collect::<Vec<_>>())
    };
    assert_eq!(of("list(utf8)", &[r#"["a","b"]"#, r#"["b","c"]"#]), (Some(r#"["b","c","a"]"#.into()), false));
    assert_eq!(of("list(int64)", &["[3,3]", "[3,3]"]), (Some("[3,3]".into()), false));
    assert_eq!(of("list(int64)", &["[1]", "null", "[]"]), (Some("[1]".into()), false));
    assert_eq!(of("list(int64)", &["null", "null"]), (None, false));
    assert_eq!(of("json", &[r#"[{"a": 1}, "x y"]"#, r#"[{"a":1}]"#]), (Some(r#"[{"a":1},"x y"]"#.into()), false));
    // What is no list cannot be united; the last written is seen, and that there is more.
    assert_eq!(of("json", &["[1]", "{\"a\":[2]}"]), (Some("{\"a\":[2]}".into()), true));
    let other = [r#"{"id":1,"tags":["a"],"name":"x"}"#, r#"{"id":1,"tags":["b"],"name":"y"}"#];
    assert_eq!(lists("list(utf8)", &other), (Some(r#"["b","a"]"#.into()), true), "the names are in conflict");
}

/// The committed values: what is written today is the same, bit for bit.
#[test]
fn marks_are_those_of_the_format() {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/live/2/row");
    let value = |world: &World| world.txns.last().unwrap().value.clone().unwrap();
    let mut columns = world("last-writer", Granularity::Column);
    columns.write(0, 0, Some(r#"{"id":1,"a":1,"b":1,"c":1}"#)).unwrap();
    columns.sync(0, 1);
    columns.write(1, 0, Some(r#"{"id":1,"a":2,"b":null}"#)).unwrap();
    let one = value(&columns);
    columns.write(0, 0, Some(r#"{"id":1,"a":3,"c":3}"#)).unwrap();
    columns.sync(1, 0);
    columns.write(0, 0, Some(r#"{"id":1,"c":4}"#)).unwrap();
    let several = value(&columns);
    columns.write(0, 1, Some(r#"{"id":1,"b":5}"#)).unwrap();
    let unread = value(&columns);
    let mut counted = world("counter:n", Granularity::Column);
    counted.write(0, 0, Some(r#"{"id":1,"n":10}"#)).unwrap();
    counted.sync(0, 1);
    counted.write(1, 0, Some(r#"{"id":1,"n":{"add":-3},"a":1}"#)).unwrap();
    let definition = columns.table.changes(None).into_iter().next().unwrap().value.unwrap();
    let all = [
        ("column.bin", one),
        ("several.bin", several),
        ("unread.bin", unread),
        ("counter.bin", value(&counted)),
        ("definition.bin", definition),
    ];
    for (name, bytes) in all {
        let path = place.join(name);
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(golden == bytes, "{name} is not what is committed: this format has changed");
    }
}
