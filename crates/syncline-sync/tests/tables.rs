//! Sessions over real tables: as objects, as deltas, cut, resumed, and told wrong things.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_sync::session::{Receiver, Sender, Server};
use syncline_sync::wire::Message;
use syncline_sync::{PullRequest, Pulled};
use syncline_tree::schema::{Field, Schema, Type};
use syncline_tree::{Changes, Commit, DatasetRoot, Table, TableRef};

use crate::world::{Passed, World, pull, pump, pump_with, push, request};

const MAIN: &str = "branches/main";

fn schema() -> Schema {
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new("name", Type::Utf8, true),
        Field::new("amount", Type::Int64, true),
    ];
    Schema::new(fields, &["id"]).unwrap()
}

/// Rows with these ids; `salt` decides their cells.
fn rows(schema: &Schema, ids: impl IntoIterator<Item = i64>, salt: u64) -> Changes {
    let ids: Vec<i64> = ids.into_iter().collect();
    let mut rng = Rng::from_seed(salt);
    let names = ids.iter().map(|id| format!("row {id} of {:016x} and {:016x}", rng.next_u64(), rng.next_u64()));
    let names: ArrayRef = Arc::new(names.map(Some).collect::<StringArray>());
    let amounts: ArrayRef = Arc::new(ids.iter().map(|id| id * 7 + salt as i64).map(Some).collect::<Int64Array>());
    let columns = vec![Arc::new(Int64Array::from(ids)) as ArrayRef, names, amounts];
    Changes::upsert(RecordBatch::try_new(schema.arrow(), columns).unwrap())
}

impl World {
    fn table(&self, n: i64, salt: u64) -> TableRef {
        let table = Table::create(&self.store, schema()).unwrap();
        table.apply([Ok(rows(&schema(), 0..n, salt))]).unwrap().0.to_ref()
    }

    /// A commit on main with this table as `t`.
    fn put(&self, table: TableRef, message: &str) -> Hash {
        let mut root = match self.at(MAIN) {
            Some(id) => self.root(&id),
            None => DatasetRoot::default(),
        };
        root.tables.insert("t".into(), table);
        let parents: Vec<Hash> = self.at(MAIN).into_iter().collect();
        let id = self.commit(&parents, &root, message);
        self.set(MAIN, id);
        id
    }

    fn root(&self, commit: &Hash) -> DatasetRoot {
        DatasetRoot::load(&self.store, &Commit::load(&self.store, commit).unwrap().root).unwrap()
    }

    fn edit(&self, ids: impl IntoIterator<Item = i64>, salt: u64) -> Hash {
        let table = self.root(&self.at(MAIN).unwrap()).tables["t"];
        let table = Table::open(&self.store, &table).unwrap();
        let edited = table.apply([Ok(rows(table.schema(), ids, salt))]).unwrap().0.to_ref();
        self.put(edited, "edit")
    }
}

fn clone_of(server: &World) -> World {
    let client = World::new();
    pull(&client, server, &PullRequest::default()).unwrap();
    client
}

fn pair(n: i64) -> (World, World) {
    let server = World::new();
    server.put(server.table(n, 1), "first");
    let client = clone_of(&server);
    (client, server)
}

#[test]
fn a_clone_has_the_tables_and_asks_nothing() {
    let server = World::new();
    server.put(server.table(20_000, 1), "first");
    server.edit([5, 77, 9_000], 2);
    let client = World::new();
    let (pulled, passed): (Pulled, Passed) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!((pulled.commits, pulled.deltas, passed.round_trips), (2, 0, 1));
    assert_eq!(client.at(MAIN), server.at(MAIN));
    client.check_whole();
    assert_eq!(client.store.missing(&[]).unwrap(), []);
}

#[test]
fn edits_travel_as_deltas_both_ways() {
    let (client, server) = pair(50_000);
    client.edit([42], 3);
    let (pushed, passed) = push(&client, &server, MAIN).unwrap();
    assert_eq!((pushed.deltas, pushed.objects, passed.round_trips), (1, 0, 2));
    assert!(passed.bytes < 900, "{passed:?}");
    server.check_whole();

    server.edit((0..50_000).step_by(53), 4);
    let (pulled, passed) = pull(&client, &server, &PullRequest::default()).unwrap();
    assert_eq!((pulled.deltas, pulled.objects, passed.round_trips), (1, 0, 1));
    assert!(passed.bytes < 60_000, "{passed:?}");
    assert_eq!(client.at(MAIN), server.at(MAIN));
    client.check_whole();
}

#[test]
fn deletes_and_appends_travel_as_deltas() {
    let (client, server) = pair(10_000);
    let table = Table::open(&client.store, &client.root(&client.at(MAIN).unwrap()).tables["t"]).unwrap();
    let mut changes = rows(table.schema(), (100..110).chain(10_000..10_020), 5);
    for op in &mut changes.ops[..10] {
        *op = syncline_tree::Op::Delete;
    }
    client.put(table.apply([Ok(changes)]).unwrap().0.to_ref(), "delete and append");
    let (pushed, _) = push(&client, &server, MAIN).unwrap();
    assert_eq!((pushed.deltas, pushed.objects), (1, 0));
    assert_eq!(server.root(&server.at(MAIN).unwrap()).tables["t"].rows, 10_010);
    server.check_whole();
}

#[test]
fn a_new_table_travels_as_objects_in_few_round_trips() {
    let (client, server) = pair(1_000);
    let mut root = client.root(&client.at(MAIN).unwrap());
    root.tables.insert("u".into(), client.table(30_000, 9));
    client.set(MAIN, client.commit(&[client.at(MAIN).unwrap()], &root, "a second table"));
    let (pushed, passed) = push(&client, &server, MAIN).unwrap();
    assert_eq!(pushed.deltas, 0);
    assert!(passed.round_trips <= 5, "{passed:?}");
    server.check_whole();
}

#[test]
fn a_sender_that_forgets_what_it_sent_sends_nothing_twice() {
    let client = World::new();
    client.put(client.table(50_000, 1), "first");
    for salt in 2..6 {
        client.edit([7, 20_000, 40_000], salt);
    }
    let push = |addresses: usize| {
        let server = World::new();
        let request = request(MAIN, client.at(MAIN).unwrap());
        let mut ours = Sender::push(&client, request).unwrap().remembering(addresses);
        let (passed, outcome) = pump(&mut ours, &mut Server::new(&server), None);
        outcome.unwrap();
        assert_eq!(server.at(MAIN), client.at(MAIN));
        server.check_whole();
        passed
    };
    let (all, few) = (push(1_000_000), push(8));
    // A patch on something forgotten goes whole: that is all that is more.
    assert!(few.object_bytes < 2 * all.object_bytes, "{few:?} beside {all:?}");
    assert!(all.round_trips < few.round_trips && few.round_trips < 40, "{few:?} beside {all:?}");
}

#[test]
fn without_a_common_base_only_what_differs_is_sent() {
    let (client, server) = (World::new(), World::new());
    server.put(server.table(50_000, 1), "first");
    // The same rows but three, put there by somebody else.
    let same = Table::open(&client.store, &client.table(50_000, 1)).unwrap();
    let edited = same.apply([Ok(rows(same.schema(), [10, 20_000, 40_000], 6))]).unwrap().0.to_ref();
    client.put(edited, "an import of our own");
    let usage = client.store.usage().unwrap();
    let whole = usage.pack_bytes + usage.journal_bytes;
    let mut forced = request(MAIN, client.at(MAIN).unwrap());
    forced.moves[0].force = true;
    let (_, passed) = crate::world::push_as(&client, &server, &forced).unwrap();
    server.check_whole();
    // A few rows and the lists that led to them, and no object.
    assert_eq!(passed.object_bytes, 0);
    assert!(passed.bytes as u64 * 10 < whole, "{passed:?} of {whole}");
    assert!(passed.round_trips <= 8, "{passed:?}");
}

#[test]
fn a_delta_that_gives_something_else_is_replaced_by_objects() {
    for damage in [0usize, 1, 2] {
        let (client, server) = pair(20_000);
        client.edit([1, 2, 3], 7);
        client.edit([4], 8);
        let other = {
            // A well-formed delta, of another edit.
            let (a, b) = pair(20_000);
            a.edit([9], 9);
            let mut frame = None;
            let mut ours = Sender::push(&a, request(MAIN, a.at(MAIN).unwrap())).unwrap();
            let (_, outcome) = pump_with(&mut ours, &mut Server::new(&b), None, &mut |message| {
                if let Message::Delta { frame: bytes, .. } = message {
                    frame = Some(bytes.clone());
                }
            });
            outcome.unwrap();
            frame.unwrap()
        };
        let mut changed = 0;
        let mut ours = Sender::push(&client, request(MAIN, client.at(MAIN).unwrap())).unwrap();
        let (_, outcome) = pump_with(&mut ours, &mut Server::new(&server), None, &mut |message| {
            if let Message::Delta { frame, .. } = message
                && changed == 0
            {
                changed += 1;
                *frame = match damage {
                    0 => other.clone(),
                    1 => frame.slice(..frame.len() / 2),
                    _ => bytes::Bytes::from_static(b"nonsense"),
                };
            }
        });
        outcome.unwrap();
        assert_eq!((changed, server.at(MAIN)), (1, client.at(MAIN)));
        server.check_whole();
    }
}

#[test]
fn a_column_that_was_added_travels_in_a_few_bytes() {
    let (client, server) = pair(20_000);
    let table = Table::open(&client.store, &client.root(&client.at(MAIN).unwrap()).tables["t"]).unwrap();
    let wider = table.with_schema(table.schema().add_column("note", Type::Utf8).unwrap()).unwrap();
    client.put(wider.to_ref(), "a column");
    let (pushed, passed) = push(&client, &server, MAIN).unwrap();
    assert_eq!(pushed.deltas, 1);
    assert!(passed.bytes < 1_500, "{passed:?}");
    server.check_whole();
}

/// No row differs, so there is no frame, and yet every leaf does.
#[test]
fn columns_that_go_or_widen_travel_in_a_few_bytes() {
    let (client, server) = pair(20_000);
    let open = |world: &World| Table::open(&world.store, &world.root(&world.at(MAIN).unwrap()).tables["t"]).unwrap();
    let table = open(&client);
    let narrower = table.with_schema(table.schema().drop_column("amount").unwrap()).unwrap();
    client.put(narrower.to_ref(), "a column less");
    let (pushed, passed) = push(&client, &server, MAIN).unwrap();
    assert_eq!(pushed.deltas, 1);
    assert!(passed.bytes < 1_500, "{passed:?}");
    server.check_whole();

    let wider = narrower.with_schema(narrower.schema().widen_column("name", Type::Binary, true).unwrap()).unwrap();
    client.put(wider.to_ref(), "a wider type");
    let (pushed, passed) = push(&client, &server, MAIN).unwrap();
    assert_eq!(pushed.deltas, 1);
    assert!(passed.bytes < 1_500, "{passed:?}");
    assert_eq!(open(&server).to_ref(), wider.to_ref());
    server.check_whole();
}

#[test]
fn a_partial_clone_holds_its_tables_and_follows_them() {
    let server = World::new();
    let mut root = DatasetRoot::default();
    root.tables.insert("t".into(), server.table(2_000, 1));
    root.tables.insert("u".into(), server.table(3_000, 2));
    server.set(MAIN, server.commit(&[], &root, "two tables"));
    let client = World::new();
    let request = PullRequest { tables: Some(vec!["t".into()]), ..PullRequest::default() };
    pull(&client, &server, &request).unwrap();
    let root = client.root(&client.at(MAIN).unwrap());
    assert!(client.store.contains(&root.tables["t"].root).unwrap());
    assert!(!client.store.contains(&root.tables["u"].root).unwrap());
    server.edit([3], 3);
    let (pulled, passed) = pull(&client, &server, &request).unwrap();
    assert_eq!(pulled.deltas, 1);
    assert!(passed.bytes < 1_000);
    // It can push what it holds.
    client.edit([4], 4);
    push(&client, &server, MAIN).unwrap();
    server.check_whole();
}

#[test]
fn a_clone_cut_anywhere_resumes_without_sending_again() {
    let server = World::new();
    server.put(server.table(40_000, 1), "first");
    server.edit([5, 30_000], 2);
    let total = {
        let client = World::new();
        pull(&client, &server, &PullRequest::default()).unwrap().1
    };
    for cut in 0..=total.messages {
        let client = World::new();
        {
            let mut ours = Receiver::pull(&client, &PullRequest::default()).unwrap();
            pump(&mut ours, &mut Server::new(&server), Some(cut)).1.unwrap();
        }
        // What was flushed before the cut, as a process that is killed after a pause finds it.
        client.store.flush().unwrap();
        let kept = client.store.usage().unwrap().objects;
        let client = client.killed();
        let (_, again) = pull(&client, &server, &PullRequest::default()).unwrap();
        client.check_whole();
        if kept > 0 {
            assert!(again.object_bytes < total.object_bytes, "cut {cut}: {again:?} of {total:?}");
        }
        if cut + 4 > total.messages {
            assert_eq!(again.object_bytes, 0, "cut {cut}");
        }
    }
}

#[test]
fn leftovers_without_their_leaves_are_not_taken_for_whole() {
    let server = World::new();
    let table = server.table(40_000, 1);
    server.put(table, "first");
    // Only the root node is here, as after a collection that kept it by accident.
    let client = World::new();
    client.store.put(&server.store.get(&table.root).unwrap()).unwrap();
    client.store.flush().unwrap();
    pull(&client, &server, &PullRequest::default()).unwrap();
    client.check_whole();
}

#[test]
fn nodes_before_their_children_are_refused() {
    let server = World::new();
    let table = server.table(40_000, 1);
    server.put(table, "first");
    let client = World::new();
    let mut objects = Vec::new();
    {
        let other = World::new();
        let mut ours = Receiver::pull(&other, &PullRequest::default()).unwrap();
        pump_with(&mut ours, &mut Server::new(&server), None, &mut |message| {
            if let Message::Objects(batch) = message {
                objects.extend(batch.clone());
            }
        })
        .1
        .unwrap();
    }
    let root = objects.into_iter().find(|object| object.id == table.root).unwrap();
    let mut session = Receiver::pull(&client, &PullRequest::default()).unwrap();
    use syncline_sync::session::Session as _;
    session.next().unwrap();
    session.receive(Message::Welcome(Default::default())).unwrap();
    let error = session.receive(Message::Objects(vec![root])).unwrap_err();
    // What it refers to may have been here a moment ago, when a collection runs beside.
    assert_eq!(error.kind(), syncline_base::Kind::Unavailable);
    assert!(error.to_string().contains("run the transfer again"), "{error}");
    assert!(!client.store.contains(&table.root).unwrap());
}

#[test]
fn a_root_record_that_lies_about_a_tree_is_refused() {
    let (client, server) = (World::new(), World::new());
    let table = server.table(2_000, 1);
    server.put(table, "honest");
    pull(&client, &server, &PullRequest::default()).unwrap();
    let (before, honest) = (client.at(MAIN), server.at(MAIN).unwrap());
    let lies = [
        TableRef { rows: table.rows + 1, ..table },
        TableRef { rows: 7, ..table },
        TableRef { height: table.height + 1, ..table },
        TableRef { height: table.height - 1, ..table },
        TableRef { schema: table.root, ..table },
    ];
    for lie in lies {
        server.set(MAIN, honest);
        server.put(lie, "a lie");
        // As a peer that has it, and as one that begins with nothing.
        for client in [&client, &World::new()] {
            let mut ours = Receiver::pull(client, &PullRequest::default()).unwrap();
            let outcome = pump(&mut ours, &mut Server::new(&server), None).1;
            assert!(outcome.is_err() && ours.pulled().is_none(), "{lie:?}");
        }
        assert_eq!(client.at(MAIN), before);
        // And a push of it.
        let mut sender = Sender::push(&server, request(MAIN, server.at(MAIN).unwrap())).unwrap();
        let hub = World::new();
        hub.table(2_000, 1);
        assert!(pump(&mut sender, &mut Server::new(&hub), None).1.is_err(), "{lie:?}");
        assert_eq!(hub.at(MAIN), None);
    }
}

mod compare;
mod shallow;

mod long_cells {
    //! Cells that are stored as chunks.

    use arrow_array::BinaryArray;
    use syncline_tree::content;

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("blob", Type::Binary, true)], &["id"])
            .unwrap()
    }

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Rng::from_seed(seed).fill(&mut bytes);
        bytes
    }

    fn put(world: &World, cells: &[(i64, Vec<u8>)], message: &str) {
        let table = match world.at(MAIN) {
            Some(id) => Table::open(&world.store, &world.root(&id).tables["t"]).unwrap(),
            None => Table::create(&world.store, schema()).unwrap(),
        };
        let ids: ArrayRef = Arc::new(cells.iter().map(|(id, _)| Some(*id)).collect::<Int64Array>());
        let blobs: ArrayRef = Arc::new(cells.iter().map(|(_, bytes)| Some(&bytes[..])).collect::<BinaryArray>());
        let changes = Changes::upsert(RecordBatch::try_new(schema().arrow(), vec![ids, blobs]).unwrap());
        world.put(table.apply([Ok(changes)]).unwrap().0.to_ref(), message);
    }

    /// As `put` of one cell that was another before: chunks are stored as edits of the ones they replace.
    fn replace(world: &World, id: i64, bytes: &[u8], message: &str) {
        let table = Table::open(&world.store, &world.root(&world.at(MAIN).unwrap()).tables["t"]).unwrap();
        let rows = table.scan_rows(Default::default()).unwrap().next().unwrap().unwrap();
        let old = rows.externals.iter().find(|cell| i64::from(cell.row) + 1 == id).unwrap();
        let content = content::write_bytes(&world.store, bytes, Some(&old.content)).unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let blobs: ArrayRef = Arc::new(BinaryArray::from(vec![&b""[..]]));
        let mut changes = Changes::upsert(RecordBatch::try_new(schema().arrow(), vec![ids, blobs]).unwrap());
        changes.externals.push(syncline_tree::leaf::External { column: old.column, row: 0, content });
        world.put(table.apply([Ok(changes)]).unwrap().0.to_ref(), message);
    }

    fn cell(world: &World, id: i64) -> Vec<u8> {
        let table = Table::open(&world.store, &world.root(&world.at(MAIN).unwrap()).tables["t"]).unwrap();
        let mut rows = table.scan_rows(Default::default()).unwrap();
        let rows = rows.next().unwrap().unwrap();
        let ids = rows.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        let row = (0..ids.len()).find(|row| ids.value(*row) == id).unwrap();
        let long = rows.externals.iter().find(|cell| cell.row as usize == row).unwrap();
        content::read_all(&world.store, &long.content, 1 << 30).unwrap().to_vec()
    }

    #[test]
    fn a_small_edit_of_a_long_cell_is_small_on_the_wire() {
        let (server, mut big) = (World::new(), noise(1, 8 << 20));
        put(&server, &[(1, big.clone()), (2, noise(2, 100_000))], "first");
        let client = clone_of(&server);
        client.check_whole();
        assert_eq!(cell(&client, 1), big);

        big[4_000_000..4_004_096].copy_from_slice(&noise(3, 4096));
        big.splice(100..100, *b"x");
        replace(&client, 1, &big, "edit");
        let (pushed, passed) = push(&client, &server, MAIN).unwrap();
        assert_eq!((pushed.deltas, passed.round_trips), (1, 2));
        assert!(passed.bytes < 15_000, "{passed:?}");
        server.check_whole();
        assert_eq!(cell(&server, 1), big);
    }

    #[test]
    fn content_that_moved_is_not_sent_again() {
        let (server, big) = (World::new(), noise(4, 3 << 20));
        put(&server, &[(1, big.clone()), (2, noise(5, 50_000))], "first");
        let client = clone_of(&server);
        put(&client, &[(3, big)], "the same content in another row");
        let (_, passed) = push(&client, &server, MAIN).unwrap();
        assert!(passed.object_bytes == 0 && passed.round_trips <= 3, "{passed:?}");
        server.check_whole();
        // New content is sent, large or small.
        put(&client, &[(4, noise(6, 1 << 20)), (5, noise(7, 20_000))], "new content");
        push(&client, &server, MAIN).unwrap();
        server.check_whole();
        assert_eq!(cell(&server, 4), noise(6, 1 << 20));
        assert_eq!(cell(&server, 5), noise(7, 20_000));
    }

    #[test]
    fn trees_that_are_compared_bring_their_content() {
        let (client, server) = (World::new(), World::new());
        let cells: Vec<(i64, Vec<u8>)> = (0..200i64).map(|id| (id, noise(id.unsigned_abs(), 17_000))).collect();
        put(&server, &cells, "first");
        put(&client, &cells[..199], "nearly the same");
        put(&client, &[(7, noise(1_000, 18_000)), (300, noise(2_000, 40_000))], "and more");
        let root = client.root(&client.at(MAIN).unwrap());
        client.set(MAIN, client.commit(&[], &root, "as one commit"));
        let mut forced = request(MAIN, client.at(MAIN).unwrap());
        forced.moves[0].force = true;
        crate::world::push_as(&client, &server, &forced).unwrap();
        server.check_whole();
        assert_eq!(cell(&server, 300), noise(2_000, 40_000));
    }

    #[test]
    fn a_push_of_content_cut_anywhere_is_resumed() {
        let server = World::new();
        put(&server, &[(1, noise(1, 300_000)), (2, noise(2, 100_000))], "first");
        let fresh = || {
            let client = clone_of(&server);
            let mut edited = noise(1, 300_000);
            edited[150_000..150_010].copy_from_slice(b"0123456789");
            put(&client, &[(1, edited), (3, noise(9, 700_000))], "edit");
            client
        };
        let (mut cut, mut done) = (0, false);
        while !done {
            let client = fresh();
            let hub = clone_of(&server);
            {
                let mut ours = Sender::push(&client, request(MAIN, client.at(MAIN).unwrap())).unwrap();
                done = pump(&mut ours, &mut Server::new(&hub), Some(cut)).1.unwrap();
            }
            let hub = hub.killed();
            hub.check_whole();
            push(&client, &hub, MAIN).unwrap();
            hub.check_whole();
            cut += 1;
        }
        assert!(cut > 5);
    }
}
