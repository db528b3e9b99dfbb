use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use syncline_base::rng::Rng;
use syncline_base::{Hlc, SystemClock};
use syncline_store::backend::memory::Memory;
use syncline_tree::schema::{Field, Schema, Type};
use syncline_tree::{Changes, Commit, DatasetRoot, Table, TableRef};

use super::*;
use crate::wire;

const MAIN: &str = "branches/main";

struct Replica {
    store: Store,
    main: Mutex<Option<Hash>>,
    arrived: Mutex<Vec<Hash>>,
}

impl Replica {
    fn new() -> Self {
        let store = syncline_tree::open_store(Arc::new(Memory::new()), true, Arc::new(SystemClock)).unwrap();
        Self { store, main: Mutex::default(), arrived: Mutex::default() }
    }

    /// A table with noise of its own in rows with these ids.
    fn edit(&self, table: &Table, ids: std::ops::Range<i64>, rng: &mut Rng) -> TableRef {
        let mut cell = vec![0; 1 << 10];
        let cells: BinaryArray = ids.clone().map(|_| (rng.fill(&mut cell), Some(cell.clone())).1).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(ids.collect::<Int64Array>()), Arc::new(cells)];
        let rows = RecordBatch::try_new(table.schema().arrow(), columns).unwrap();
        table.apply([Ok(Changes::upsert(rows))]).unwrap().0.to_ref()
    }

    fn commit(&self, tables: BTreeMap<String, TableRef>) -> Hash {
        let root = DatasetRoot { tables, ..DatasetRoot::default() }.put(&self.store).unwrap();
        let mut main = self.main.lock().unwrap();
        let generation = main.map_or(1, |id| Commit::load(&self.store, &id).unwrap().generation + 1);
        let (parents, hlc) = (main.into_iter().collect(), Hlc::from_ms(generation));
        let (author, message, meta) = ("ada".to_owned(), String::new(), BTreeMap::new());
        let commit = Commit { parents, generation, root, author, hlc, message, meta };
        let id = commit.put(&self.store).unwrap();
        self.store.flush().unwrap();
        *main = Some(id);
        id
    }
}

impl Local for Replica {
    fn store(&self) -> &Store {
        &self.store
    }

    fn refs(&self) -> Result<Vec<(String, Hash)>> {
        Ok(self.main.lock().unwrap().iter().map(|id| (MAIN.to_owned(), *id)).collect())
    }

    fn head(&self) -> Result<Option<String>> {
        Ok(Some(MAIN.to_owned()))
    }

    fn unnamed(&self) -> Result<Vec<Hash>> {
        Ok(self.arrived.lock().unwrap().clone())
    }

    fn keep_arrived(&self, tips: &[Hash], _: &[Hash]) -> Result<()> {
        for tip in tips {
            assert!(self.store.contains(tip).unwrap(), "{tip:?} is not here");
        }
        *self.arrived.lock().unwrap() = tips.to_vec();
        Ok(())
    }

    fn shallow(&self) -> Result<Vec<Hash>> {
        Ok(Vec::new())
    }

    fn keep_shallow(&self, shallow: &[Hash]) -> Result<()> {
        panic!("nothing is shallow here: {shallow:?}")
    }

    fn move_ref(&self, request: &RefMove, _: &[Hash]) -> Result<()> {
        *self.main.lock().unwrap() = request.target;
        Ok(())
    }

    fn make_tags(&self, tags: &[(String, Hash)], _: &[Hash]) -> Result<Vec<Left>> {
        panic!("nobody asks for tags here: {tags:?}")
    }
}

/// Pushes main; how many trees went as deltas.
fn push(from: &Replica, to: &Replica) -> Result<u64> {
    let target = from.refs()?[0].1;
    let (name, expected) = (MAIN.to_owned(), None);
    let step = RefMove { name, expected, target: Some(target), force: false, allow_mass_delete: true, only_new: false };
    let mut ours = Sender::push(from, PushRequest { moves: vec![step] })?;
    let mut theirs = Server::new(to);
    while !(ours.is_over() && theirs.is_over()) {
        while let Some(message) = ours.next()? {
            theirs.receive(message)?;
        }
        while let Some(message) = theirs.next()? {
            ours.receive(message)?;
        }
    }
    Ok(ours.pushed().unwrap().deltas)
}

#[test]
fn a_commit_arrives_whose_deltas_are_too_long_together() {
    let (client, server, mut rng) = (Replica::new(), Replica::new(), Rng::from_seed(1));
    let schema =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("blob", Type::Binary, true)], &["id"])
            .unwrap();
    let names = ["a", "b", "c", "d"];
    let empty = Table::create(&client.store, schema).unwrap();
    let tables: BTreeMap<_, _> = names.iter().map(|n| (n.to_string(), client.edit(&empty, 0..200, &mut rng))).collect();
    client.commit(tables.clone());
    push(&client, &server).unwrap();
    // Each is a little shorter than a delta may be, and all are longer than the receiver takes.
    let edited = |(name, table): (String, TableRef)| {
        let table = Table::open(&client.store, &table).unwrap();
        (name, client.edit(&table, 50..72, &mut rng))
    };
    let edited: BTreeMap<_, _> = tables.into_iter().map(edited).collect();
    let tip = client.commit(edited.clone());
    // What fits goes as deltas, the others as objects.
    assert_eq!(push(&client, &server).unwrap(), 2);
    assert_eq!(server.refs().unwrap(), [(MAIN.to_owned(), tip)]);
    for table in edited.values() {
        let rows = Table::open(&server.store, table).unwrap().scan_rows(Default::default()).unwrap();
        assert_eq!(rows.map(|rows| rows.unwrap().batch.num_rows()).sum::<usize>(), 200);
    }
}

#[test]
fn what_comparisons_keep_is_bounded_for_all_trees_together() {
    let (hub, mut rng) = (Replica::new(), Rng::from_seed(1));
    let schema =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("blob", Type::Binary, true)], &["id"])
            .unwrap();
    let ours = hub.edit(&Table::create(&hub.store, schema).unwrap(), 0..20, &mut rng);
    hub.commit((0..10).map(|n| (format!("t{n}"), ours)).collect());
    let step = wire::Move { name: MAIN.into(), expected: None, target: Some(Hash::ZERO), flags: 0 };
    let mut session = Server::new(&hub);
    let hello = Message::Hello { version: wire::VERSION, want: wire::Want::Push { moves: vec![step] } };
    session.receive(hello).unwrap();
    // Each seems to be so large that many differing nodes are still worth it.
    let theirs = TableRef { root: Hash::of(b"far away"), rows: u64::MAX, height: 40, ..ours };
    session.receive(Message::Propose((0..10).map(|n| (format!("t/t{n}"), theirs)).collect())).unwrap();
    let said = |session: &mut Server<'_>| {
        let mut queries = 0;
        while let Some(message) = session.next().unwrap() {
            queries += usize::from(matches!(message, Message::Query { .. }));
        }
        queries
    };
    assert_eq!(said(&mut session), 10);
    // One node with 500 children, none of which is here.
    let mut body = vec![1, 1, 0xf4, 0x03];
    body.resize(4 + 500 * 8, 0);
    let goes_on = (0..10).map(|tree| {
        session.receive(Message::Answer { tree, body: body.clone().into() }).unwrap();
        said(&mut session)
    });
    assert_eq!(goes_on.sum::<usize>(), 1);
}

/// A replica with one table of noise in so many versions.
fn history_of(versions: i64) -> Replica {
    let (replica, mut rng) = (Replica::new(), Rng::from_seed(1));
    let schema =
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("blob", Type::Binary, true)], &["id"])
            .unwrap();
    let mut table = replica.edit(&Table::create(&replica.store, schema).unwrap(), 0..40, &mut rng);
    replica.commit([("t".to_owned(), table)].into());
    for version in 0..versions {
        let at = version % 30;
        table = replica.edit(&Table::open(&replica.store, &table).unwrap(), at..at + 10, &mut rng);
        replica.commit([("t".to_owned(), table)].into());
    }
    replica
}

/// Carries messages until so many steps have come to the client, which is cut off then, and told so or not; how many came.
fn pull_steps(client: &Replica, server: &Replica, most: usize, told: bool) -> usize {
    let mut ours = Receiver::pull(client, &PullRequest::default()).unwrap();
    let mut theirs = Server::new(server);
    let mut steps = 0;
    while !(ours.is_over() && theirs.is_over()) {
        while let Some(message) = ours.next().unwrap() {
            theirs.receive(message).unwrap();
        }
        while let Some(message) = theirs.next().unwrap() {
            let is_step = matches!(message, Message::Step(_));
            ours.receive(message).unwrap();
            steps += usize::from(is_step);
            if steps == most {
                if told {
                    ours.cut();
                }
                return steps;
            }
        }
    }
    *client.main.lock().unwrap() = ours.pulled().unwrap().refs.first().map(|(_, id)| *id);
    steps
}

#[test]
fn a_pull_that_was_cut_off_goes_on_where_it_stopped() {
    let server = history_of(40);
    // Told: all that has come is kept. Killed: all but what came after the last flush, here every six versions or so.
    for (told, lost) in [(true, 0), (false, 9)] {
        let client = Replica::new();
        let first = pull_steps(&client, &server, 20, told);
        let second = pull_steps(&client, &server, 10, told);
        let third = pull_steps(&client, &server, usize::MAX, told);
        let sent = first + second + third;
        assert!((41..=41 + 2 * lost).contains(&sent), "{first} + {second} + {third} of 41 versions");
        assert_eq!(client.refs().unwrap(), server.refs().unwrap());
        // Nothing is left to send.
        assert_eq!(pull_steps(&client, &server, usize::MAX, told), 0);
    }
}

#[test]
fn a_push_that_was_cut_off_goes_on_where_it_stopped() {
    let (client, server) = (history_of(40), Replica::new());
    let target = client.refs().unwrap()[0].1;
    let push = |most: usize| {
        let step = RefMove {
            name: MAIN.to_owned(),
            expected: None,
            target: Some(target),
            force: false,
            allow_mass_delete: true,
            only_new: false,
        };
        let mut ours = Sender::push(&client, PushRequest { moves: vec![step] }).unwrap();
        let mut theirs = Server::new(&server);
        let mut steps = 0;
        while !(ours.is_over() && theirs.is_over()) {
            while let Some(message) = ours.next().unwrap() {
                steps += usize::from(matches!(message, Message::Step(_)));
                theirs.receive(message).unwrap();
                if steps == most {
                    theirs.cut();
                    return steps;
                }
            }
            while let Some(message) = theirs.next().unwrap() {
                ours.receive(message).unwrap();
            }
        }
        steps
    };
    assert_eq!([push(15), push(20), push(usize::MAX)], [15, 20, 6]);
    assert_eq!(server.refs().unwrap(), [(MAIN.to_owned(), target)]);
}
