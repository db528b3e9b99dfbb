//! The dataset that a command works on: a replica here, or a dataset on a node.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use syncline_api::Target;
use syncline_api::client::{Client, Options, Reply};
use syncline_api::pipe::Limits;
use syncline_base::{Kind, SystemClock};
use syncline_node::live::files::contents::{self, Put};
use syncline_node::progress::{Progress, Received};
use syncline_node::{Env, Location, Replica};

use crate::args::Global;
use crate::fault::{Fault, Result};
use crate::output::Output;
use crate::peer::Reach;
use crate::progress;

/// What every verb is given: the global options, understood.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    env: Env,
    /// Where reports go.
    pub out: Output,
}

/// Where a verb runs.
pub(crate) enum Place {
    /// In this process, on a replica that this machine can reach.
    Here(Box<Replica>),
    /// On a node.
    Node(Box<Client>),
}

impl Context {
    pub(crate) fn new(global: Global) -> Result<Self> {
        let out = Output { json: global.json, quiet: global.quiet };
        let named = global.author.clone().filter(|author| !author.trim().is_empty());
        let author = named.unwrap_or_else(|| author(|name| std::env::var(name).ok()));
        let connect = Arc::new(Reach::new(options(&global), global.ca.clone()));
        Ok(Self { global, env: Env { clock: Arc::new(SystemClock), author, connect }, out })
    }

    /// What a replica is given from outside.
    pub(crate) fn env(&self) -> Env {
        self.env.clone()
    }

    /// Progress bars when somebody watches.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        progress::of(self.out)
    }

    /// The token, for the verb that asks others for it.
    pub(crate) fn token(&self) -> Option<&str> {
        self.global.token.as_deref()
    }

    /// Budgets of a connection.
    pub(crate) fn limits(&self) -> Limits {
        limits(&self.global)
    }

    /// The dataset that `-C` or `--on` names, else the one of this directory.
    pub(crate) fn location(&self) -> Result<Location> {
        Ok(self.named()?.1)
    }

    /// As [`Self::location`], with the words that name it.
    pub(crate) fn named(&self) -> Result<(String, Location)> {
        let text = self.global.on.as_deref().or(self.global.dir.as_deref()).unwrap_or(".");
        Ok((text.to_owned(), Location::parse(text)?))
    }

    /// The directory or the address of `-C` or `--on`, when one was given.
    pub(crate) fn given(&self) -> (Option<&str>, Option<&str>) {
        (self.global.dir.as_deref(), self.global.on.as_deref())
    }

    /// The replica that this process can open; some verbs need one.
    pub(crate) fn replica(&self, verb: &str) -> Result<Replica> {
        match self.location()? {
            Location::Node(url) => Err(Fault::invalid(format!(
                "{verb} on {url}: it works on a replica of your own\nclone the dataset and run it there with -C DIR"
            ))),
            location => self.open(&location),
        }
    }

    /// What `--on` names is opened as it is named; `-C` and the current directory may lie inside of a working directory.
    fn open(&self, location: &Location) -> Result<Replica> {
        let opened = match self.global.on {
            Some(_) => Replica::open(location, self.env()),
            None => Replica::find(location, self.env()),
        };
        Ok(opened?)
    }

    /// Where the verb runs.
    pub(crate) fn place(&self) -> Result<Place> {
        match self.location()? {
            Location::Node(url) => Ok(Place::Node(Box::new(self.client(&url)?))),
            location => Ok(Place::Here(Box::new(self.open(&location)?))),
        }
    }

    /// A connection to the node of `url`.
    pub(crate) fn client(&self, url: &str) -> Result<Client> {
        Ok(Client::connect(Target::parse(url)?, self.options()?)?)
    }

    /// How to connect to nodes.
    pub(crate) fn options(&self) -> Result<Options> {
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
        Ok(Options { authority: self.global.ca.as_ref().map(read).transpose()?, ..options(&self.global) })
    }

    /// Runs a verb here or on a node, whichever the command names.
    pub(crate) fn ask<Request: Serialize, Report: DeserializeOwned>(
        &self,
        verb: &str,
        request: &Request,
        here: impl FnOnce(&Replica, &Arc<dyn Progress>) -> syncline_node::Result<Report>,
    ) -> Result<Report> {
        match self.place()? {
            Place::Here(replica) => Ok(here(&replica, &self.progress())?),
            Place::Node(client) => call(&client, verb, request, None, &mut std::io::sink(), &*self.progress()),
        }
    }
}

impl Context {
    /// As [`Self::ask`]; when another process on this machine has the replica's live tables, it runs the verb.
    pub(crate) fn ask_served<Request: Serialize, Report: DeserializeOwned>(
        &self,
        verb: &str,
        request: &Request,
        here: impl FnOnce(&Replica, &Arc<dyn Progress>) -> syncline_node::Result<Report>,
    ) -> Result<Report> {
        let progress = self.progress();
        self.ask_live(verb, request, &mut std::io::empty(), |replica, _, _| here(replica, &progress))
    }
}

/// Where live tables are asked: in this process, or at the node that has them.
pub(crate) struct Live<'a> {
    context: &'a Context,
    place: Place,
}

impl Context {
    /// Where this command's live tables are.
    pub(crate) fn live(&self) -> Result<Live<'_>> {
        Ok(Live { context: self, place: self.place()? })
    }

    /// Runs a verb on live tables once.
    pub(crate) fn ask_live<Request: Serialize, Report: DeserializeOwned>(
        &self,
        verb: &str,
        request: &Request,
        input: &mut dyn Read,
        here: impl FnOnce(&Replica, &Request, &mut dyn Read) -> syncline_node::Result<Report>,
    ) -> Result<Report> {
        self.live()?.ask(verb, request, input, here)
    }
}

impl Live<'_> {
    /// Runs a verb. When another process on this machine has the replica's live tables, it is asked, now and from then on.
    pub(crate) fn ask<Request: Serialize, Report: DeserializeOwned>(
        &mut self,
        verb: &str,
        request: &Request,
        input: &mut dyn Read,
        here: impl FnOnce(&Replica, &Request, &mut dyn Read) -> syncline_node::Result<Report>,
    ) -> Result<Report> {
        if let Place::Here(replica) = &self.place {
            match here(replica, request, input) {
                Err(syncline_node::Error::Served { url: Some(url), .. }) => {
                    self.place = Place::Node(Box::new(self.context.client(&url)?));
                }
                done => return Ok(done?),
            }
        }
        self.on_node(verb, request, input)
    }

    /// Stores a content where the live tables are, for a transaction that is to name it. It goes there in pieces.
    pub(crate) fn send(&mut self, input: &mut (dyn Read + Send)) -> Result<Put> {
        if let Place::Here(replica) = &self.place {
            match contents::put(replica, input) {
                // Nothing was read then.
                Err(syncline_node::Error::Served { url: Some(url), .. }) => {
                    self.place = Place::Node(Box::new(self.context.client(&url)?));
                }
                done => return Ok(done?),
            }
        }
        self.on_node("contents-put", &(), input)
    }

    fn on_node<Request: Serialize, Report: DeserializeOwned>(
        &self,
        verb: &str,
        request: &Request,
        input: &mut dyn Read,
    ) -> Result<Report> {
        let Place::Node(client) = &self.place else {
            return Err(Fault::invalid(format!("{verb}: there is no replica")));
        };
        call(client, verb, request, Some(input), &mut std::io::sink(), &*self.context.progress())
    }
}

fn limits(global: &Global) -> Limits {
    Limits { rate: global.limit_rate, ..Limits::default() }
}

/// All but the authority, which is a file.
fn options(global: &Global) -> Options {
    Options {
        token: global.token.clone(),
        server_name: global.server_name.clone(),
        limits: limits(global),
        ..Options::default()
    }
}

/// Runs a verb on the client's dataset. Its input is sent along; what it puts out beside the report is written to
/// `output`.
pub(crate) fn call<Request: Serialize, Report: DeserializeOwned>(
    client: &Client,
    verb: &str,
    request: &Request,
    input: Option<&mut dyn Read>,
    output: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Report> {
    let target = client.target();
    if target.dataset.is_empty() {
        return Err(Fault::invalid(format!("{verb} on {target}: it names no dataset; write {target}DATASET")));
    }
    let request = serde_json::to_string(request)?;
    let (mut report, mut shown) = (None, Received::default());
    client.call(&target.dataset, verb, &request, input, &mut |reply| {
        match reply {
            Reply::Report(json) => report = Some(json),
            Reply::Output(bytes) => output.write_all(&bytes).map_err(|error| syncline_api::Error::Peer {
                kind: Kind::of_io(&error),
                message: format!("writing what {target} sends: {error}"),
            })?,
            // What cannot be read is of a node that counts in another way.
            Reply::Progress(json) => {
                if let Ok(step) = serde_json::from_str(&json) {
                    shown.take(&step, progress);
                }
            }
        }
        Ok(())
    })?;
    let report = report.ok_or_else(|| {
        Fault::new(
            Kind::Unavailable,
            format!("{verb} on {target}: the node ended the call without a report; run it again"),
        )
    })?;
    serde_json::from_str(&report).map_err(|error| {
        let why = "the node may be of another version than this program";
        Fault::new(Kind::Invalid, format!("{verb} on {target}: the report cannot be read: {error}\n{why}"))
    })
}

/// Who makes commits when nobody says: the user and the machine, as far as the environment names them.
fn author(variable: impl Fn(&str) -> Option<String>) -> String {
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
    };
    let home = || {
        let home = PathBuf::from(first(&["HOME", "USERPROFILE"])?);
        Some(home.file_name()?.to_string_lossy().into_owned())
    };
    let user = first(&["USER", "LOGNAME", "USERNAME"]).or_else(home).unwrap_or_else(|| "unknown".to_owned());
    match first(&["HOSTNAME", "HOST", "COMPUTERNAME"]) {
        Some(host) => format!("{user}@{host}"),
        None => user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_author_is_the_user_at_the_machine() {
        let of = |variables: &[(&str, &str)]| {
            author(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(of(&[("USER", "ann"), ("HOSTNAME", "box"), ("HOME", "/home/bob")]), "ann@box");
        assert_eq!(of(&[("USER", " "), ("LOGNAME", "ann")]), "ann");
        assert_eq!(of(&[("HOME", "/root"), ("HOST", "box")]), "root@box");
        assert_eq!(of(&[("HOME", "/")]), "unknown");
    }

    fn context(line: &str) -> Context {
        use clap::Parser;
        let cli = crate::args::Cli::try_parse_from(line.split_whitespace()).expect("a valid command line");
        Context::new(cli.global).expect("valid options")
    }

    #[test]
    fn the_place_comes_from_either_option() {
        let at = |line| context(line).location().expect("a location");
        assert_eq!(at("syncline log"), Location::Path(".".into()));
        assert_eq!(at("syncline log -C /data"), Location::Path("/data".into()));
        assert_eq!(at("syncline --on http://h:1/d log"), Location::Node("http://h:1/d".into()));
        assert_eq!(at("syncline log --on s3://b/p"), Location::Bucket("s3://b/p".into()));
    }

    #[test]
    fn verbs_that_need_a_directory_say_so() {
        let fault = context("syncline --on http://h:1/d undo").replica("undo").expect_err("no directory");
        assert_eq!(fault.show("undo", true), std::process::ExitCode::from(2));
    }
}
