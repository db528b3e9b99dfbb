//! Running the binary in a directory of its own.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use syncline_base::rng::Rng;

/// A directory that goes with the value.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a directory above")).expect("directories can be made");
        std::fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A replica in it.
    pub(crate) fn replica(&self, name: &str) -> Replica {
        let replica = Replica(self.path(name));
        syncline(["init", &self.text(name)]).ok();
        replica
    }
}

/// A replica's directory.
#[derive(Clone)]
pub(crate) struct Replica(pub PathBuf);

impl Replica {
    /// Runs a command in it.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.command(words))
    }

    /// Runs a command in it with `--json`; it has to succeed.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Value {
        let mut command = self.command(words);
        command.arg("--json");
        Run::of(command).ok().json()
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = binary();
        command.arg("-C").arg(&self.0).args(words);
        command
    }

    /// Runs a command in it with `--json` and this on standard input; it has to succeed.
    pub(crate) fn give<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>, input: &str) -> Value {
        let mut command = self.command(words);
        command.arg("--json");
        fed(command, input).ok().json()
    }

    pub(crate) fn root(&self) -> String {
        self.json(["root"])["root"].as_str().expect("a root").to_owned()
    }

    /// Imports CSV text with the key `id` and commits it.
    pub(crate) fn import(&self, dir: &Dir, csv: &str) -> Value {
        let file = dir.write("input.csv", csv);
        self.json(["import", file.as_str(), "--table", "t", "--key", "id", "-m", "import"])
    }

    /// The table `t` as CSV.
    pub(crate) fn table(&self) -> String {
        self.run(["export", "--table", "t", "-o", "-", "--format", "csv"]).ok().stdout
    }
}

/// The command, with nothing of the caller's environment that changes what it does.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    for name in ["SYNCLINE_TOKEN", "SYNCLINE_CA", "SYNCLINE_LOG"] {
        command.env_remove(name);
    }
    command.env("SYNCLINE_AUTHOR", "tester").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs a command.
pub(crate) fn syncline<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Run {
    let mut command = binary();
    command.args(words);
    Run::of(command)
}

/// Runs a command with this on standard input.
pub(crate) fn fed(mut command: Command, input: &str) -> Run {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("a temporary file");
    command.stdin(file);
    Run::of(command)
}

/// How a command ended.
pub(crate) struct Run {
    line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub(crate) fn of(mut command: Command) -> Self {
        let output: Output = command.output().expect("the binary starts");
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
        Self {
            line: words.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ends(0)
    }

    /// Asserts an exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "syncline {}\n{}{}", self.line, self.stdout, self.stderr);
        self
    }

    /// The one JSON object on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}: {}", self.line, self.stdout))
    }
}

/// A node that serves the datasets of a directory; ended on drop.
pub(crate) struct Server {
    process: Child,
    pub url: String,
}

impl Server {
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::run(&mut binary(), data, more)
    }

    /// As [`Server::start`], with a command that has its environment.
    pub(crate) fn run(command: &mut Command, data: &Path, more: &[&str]) -> Self {
        Self::listen(command, data, "127.0.0.1:0", more)
    }

    /// Starts it where another one was, once that one's port is free.
    pub(crate) fn again(data: &Path, url: &str) -> Self {
        Self::listen(&mut binary(), data, url.trim_start_matches("http://"), &[])
    }

    /// Serves one replica.
    pub(crate) fn of_one(replica: &Replica, address: &str, more: &[&str]) -> Self {
        let mut command = binary();
        command.arg("-C").arg(&replica.0).args(["up", "--json", "--listen", address]).args(more);
        Self::await_answer(&mut command)
    }

    /// Keeps a replica's directory in step, with the node at `url` if there is one.
    pub(crate) fn syncing(replica: &Replica, url: Option<&str>, more: &[&str]) -> Self {
        let mut command = binary();
        command.arg("-C").arg(&replica.0).args(["sync", "--live", "--json"]).args(url).args(more);
        Self::await_answer(&mut command)
    }

    /// Starts a node by a command that has all its words.
    pub(crate) fn given(command: &mut Command) -> Self {
        Self::await_answer(command)
    }

    fn listen(command: &mut Command, data: &Path, address: &str, more: &[&str]) -> Self {
        command.args(["up", "--json", "--listen", address, "--data"]).arg(data).args(more);
        Self::await_answer(command)
    }

    fn await_answer(command: &mut Command) -> Self {
        command.stdout(Stdio::piped());
        let mut process = command.spawn().expect("the binary starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let report: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let url = report["url"].as_str().expect("a url").to_owned();
        Self { process, url }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, as a power cut does.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it has ended");
    }

    pub(crate) fn wait(mut self) -> Option<i32> {
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// CSV with rows `first..last` of three columns; `salt` changes the values.
pub(crate) fn csv(first: u64, last: u64, salt: u64) -> String {
    let mut text = "id,name,price\n".to_owned();
    for id in first..last {
        let mut rng = Rng::from_seed(id ^ (salt << 40));
        writeln!(text, "{id},name {:x},{}.{:02}", rng.below(1 << 40), rng.below(1_000), rng.below(100))
            .expect("a string");
    }
    text
}
