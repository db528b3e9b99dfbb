//! A node, and replicas that talk to it.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use syncline_api::Target;
use syncline_api::client::{Client, Options};
use syncline_base::{Hash, Hlc};
use syncline_node::local::BRANCHES;
use syncline_node::sync::{self, PullRequest, Pulled, PushRequest, Pushed, RefMove, Traffic, Transport};
use syncline_node::{Env, Location, Replica};
use syncline_server::remote::Remote;
use syncline_server::{Hub, Running, Settings, start};
use syncline_tree::schema::{Field, Schema, Type};
use syncline_tree::{Changes, Commit, DatasetRoot, Table, TableRef, refs};
use tempfile::TempDir;

/// A node with one dataset, `d`.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) hub: Arc<Hub>,
    pub(crate) running: Running,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::open(&Location::Path(dir.path().to_owned()), Env::default()).unwrap());
        hub.create("d").unwrap();
        let settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..settings };
        let running = start(&settings, Arc::clone(&hub)).unwrap();
        Self { dir, hub, running }
    }

    pub(crate) fn target(&self) -> Target {
        Target::parse(&format!("http://{}/d", self.running.address())).unwrap()
    }

    pub(crate) fn client(&self) -> Arc<Client> {
        self.client_with(Options::default())
    }

    pub(crate) fn client_with(&self, options: Options) -> Arc<Client> {
        Arc::new(Client::connect(self.target(), options).unwrap())
    }

    pub(crate) fn replica(&self) -> Arc<Replica> {
        self.hub.dataset("d").unwrap()
    }

    /// A clone of `d` in a directory of its own.
    pub(crate) fn clone(&self) -> Place {
        let place = Place::new();
        place.pull(&mut Remote::new(&self.client()));
        place
    }
}

/// A replica in a directory of its own.
pub(crate) struct Place {
    _dir: TempDir,
    pub(crate) replica: Replica,
}

pub(crate) fn schema() -> Schema {
    Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("text", Type::Utf8, true)], &["id"]).unwrap()
}

/// Rows with these ids.
pub(crate) fn rows(ids: impl IntoIterator<Item = i64>, text: &str) -> Changes {
    let ids: Vec<i64> = ids.into_iter().collect();
    let texts = ids.iter().map(|id| Some(format!("{text} {id} {}", Hash::of(&id.to_le_bytes()))));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids.clone())), Arc::new(texts.collect::<StringArray>())];
    let batch = RecordBatch::try_new(schema().arrow(), columns).unwrap();
    Changes::upsert(batch)
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        Replica::init(&path, true, Env::default()).unwrap();
        let replica = Replica::open(&Location::Path(path), Env::default()).unwrap();
        Self { _dir: dir, replica }
    }

    pub(crate) fn head(&self) -> Option<Hash> {
        self.replica.refs().unwrap().head_commit()
    }

    pub(crate) fn root(&self) -> DatasetRoot {
        self.head().map(|id| self.replica.root_of(&id).unwrap()).unwrap_or_default()
    }

    pub(crate) fn set_head(&self, id: Hash) {
        refs::update(self.replica.store(), |refs| {
            refs.move_branch("main", Some(id), Hlc::default(), "test");
            Ok(())
        })
        .unwrap();
    }

    /// Commits these rows of table `t` on top of what is here.
    pub(crate) fn edit(&self, ids: impl IntoIterator<Item = i64>, text: &str) -> Hash {
        let store = self.replica.store();
        let root = self.root();
        let table = match root.tables.get("t") {
            Some(table) => Table::open(store, table).unwrap(),
            None => Table::create(store, schema()).unwrap(),
        };
        self.commit("t", table.apply([Ok(rows(ids, text))]).unwrap().0.to_ref(), text)
    }

    /// Commits this table on top of what is here.
    pub(crate) fn commit(&self, name: &str, table: TableRef, message: &str) -> Hash {
        let (store, mut root) = (self.replica.store(), self.root());
        root.tables.insert(name.into(), table);
        let parents: Vec<Hash> = self.head().into_iter().collect();
        let generation = parents.iter().map(|id| Commit::load(store, id).unwrap().generation).max().unwrap_or(0) + 1;
        let commit = Commit {
            parents,
            generation,
            root: root.put(store).unwrap(),
            author: "ada".into(),
            hlc: Hlc::from_ms(1_700_000_000_000 + generation),
            message: message.into(),
            meta: Default::default(),
        };
        let id = commit.put(store).unwrap();
        self.set_head(id);
        id
    }

    pub(crate) fn pull(&self, transport: &mut dyn Transport) -> (Pulled, Traffic) {
        let (pulled, traffic) = sync::pull(&self.replica, transport, &PullRequest::default(), &mut ()).unwrap();
        if let Some((_, id)) = pulled.refs.first() {
            self.set_head(*id);
        }
        (pulled, traffic)
    }

    pub(crate) fn push(&self, transport: &mut dyn Transport) -> sync::Result<(Pushed, Traffic)> {
        let request = PushRequest {
            moves: vec![RefMove {
                name: format!("{BRANCHES}main"),
                expected: None,
                target: self.head(),
                force: false,
                allow_mass_delete: true,
                only_new: false,
            }],
        };
        sync::push(&self.replica, transport, &request, &mut ())
    }
}
