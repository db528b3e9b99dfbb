//! What these tests share: replicas in temporary directories, and verbs with short names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline_base::Hash;
use syncline_node::export::Target;
use syncline_node::import::{Input, Mode};
use syncline_node::ops::{branch, checkout, commit, diff, export, import, init, merge, root};
use syncline_node::progress::{Progress, Silent};
use syncline_node::{Env, Location, Replica, Result};
use tempfile::TempDir;

/// A replica in a directory of its own.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) replica: Replica,
}

pub(crate) fn env() -> Env {
    Env { author: "ann".into(), ..Env::default() }
}

pub(crate) fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::made(false)
    }

    /// One without a working directory, as a node has them.
    pub(crate) fn bare() -> Self {
        Self::made(true)
    }

    fn made(bare: bool) -> Self {
        let dir = tempfile::tempdir().expect("the system has room for a directory");
        init::run(&init::Request { dir: dir.path().join("r"), bare }, env()).expect("the directory is new");
        let replica = open(&dir.path().join("r"));
        Self { dir, replica }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("r")
    }

    /// Opens the same replica again, as another process would.
    pub(crate) fn reopen(&self) -> Replica {
        open(&self.path())
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it is below the root")).expect("directories can be made");
        std::fs::write(path, text).expect("files can be written");
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path().join(path)).ok()
    }

    pub(crate) fn import(&self, csv: &str, mode: Mode, message: Option<&str>) -> Result<import::Report> {
        let request = import::Request {
            table: "t".into(),
            key: vec!["id".into()],
            mode,
            message: message.map(Into::into),
            ..import::Request::default()
        };
        let input = Input::Reader { name: "rows.csv".into(), reader: Box::new(std::io::Cursor::new(csv.to_owned())) };
        import::run(&self.replica, &request, vec![input], &silent())
    }

    pub(crate) fn upsert(&self, csv: &str, message: &str) -> Hash {
        self.import(csv, Mode::Upsert, Some(message)).expect("the rows are good").commit.expect("it has a message")
    }

    pub(crate) fn commit(&self, message: &str) -> commit::Report {
        let request = commit::Request { message: message.into(), ..commit::Request::default() };
        commit::run(&self.replica, &request, &Silent).expect("nothing is in the way")
    }

    pub(crate) fn root(&self) -> Hash {
        root::run(&self.replica, &root::Request::default()).expect("there is a version").root
    }

    pub(crate) fn diff(&self, from: &str, to: &str) -> diff::Report {
        let request = diff::Request { from: Some(from.into()), to: Some(to.into()), tree: None, rows: 100 };
        diff::run(&self.replica, &request).expect("both versions exist")
    }

    /// The rows of table `t` at HEAD as CSV.
    pub(crate) fn rows(&self) -> String {
        let dir = tempfile::tempdir().expect("the system has room for a directory");
        let path = dir.path().join("rows.csv");
        let request = export::Request { table: "t".into(), ..export::Request::default() };
        export::run(&self.replica, &request, &Target::Path(path.clone()), &Silent).expect("it can be written");
        std::fs::read_to_string(path).expect("it was written")
    }

    /// A branch from here, on which the place is afterwards.
    pub(crate) fn branch(&self, name: &str) {
        let create = branch::Action::Create { name: name.into(), at: None, force: false };
        branch::run(&self.replica, branch::Sort::Branch, &create).expect("the name is free");
        self.switch(name);
    }

    pub(crate) fn switch(&self, name: &str) {
        checkout::run(&self.replica, &checkout::Request { name: name.into(), force: false }).expect("it exists");
    }

    pub(crate) fn merge(&self, name: &str) -> Result<merge::Report> {
        merge::run(&self.replica, &merge::Request { name: name.into(), ..merge::Request::default() })
    }
}

pub(crate) fn open(path: &Path) -> Replica {
    Replica::open(&Location::Path(path.to_owned()), env()).expect("it was made before")
}
