//! The command line is a contract: scripts rely on it.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

/// Every line of the contract is understood.
#[test]
fn the_contract_is_understood() {
    for line in [
        "init dir --bare",
        "import a.csv b.csv --table t --key a,b --mode append -m why",
        "import - --table t --key a --format ndjson",
        "alter --table t --add a:utf8 --drop b --rename c=d --widen e:int64 -m why",
        "commit -m why",
        "status",
        "log",
        "show",
        "show v1",
        "diff v1",
        "diff v1 v2 --table t --rows",
        "root",
        "root v1 --table t",
        "root --files",
        "export --table t --at v1 -o t.parquet",
        "checkout main",
        "branch",
        "tag v1",
        "merge feature",
        "conflicts",
        "conflicts -n 3",
        "conflicts list --table t -n 3",
        "conflicts show --table t --key -1",
        "conflicts resolve --table t --key 1,x --take 00112233 --read 0",
        "conflicts resolve --table t --key 1 --row {}",
        "conflicts resolve --table t --key 1 --delete",
        "resolve --ours",
        "rollback v1",
        "history --table t --key 1,x",
        "key ls",
        "key show",
        "key show 0123456789abcdef",
        "key revoke 01234567 --reason lost",
        "up --data hub --listen 127.0.0.1:7070",
        "up --data s3://bucket/prefix",
        "clone http://127.0.0.1:7070/t dir",
        "push",
        "pull http://127.0.0.1:7070/t",
        "sync",
        "verify --deep",
        "repair --from http://127.0.0.1:7070/t",
        "gc",
        "completion bash",
    ] {
        let cli = parse(&format!("syncline {line}"));
        assert_eq!(cli.verb.name(), line.split(' ').next().expect("a verb"), "{line}");
        for global in ["-C dir", "--on http://127.0.0.1:7070/t", "--json", "-q"] {
            parse(&format!("syncline {global} {line}"));
            parse(&format!("syncline {line} {global}"));
        }
    }
}

#[test]
fn keys_are_separated_by_commas() {
    let Verb::Import(args) = parse("syncline import a.csv --table t --key a,b").verb else { panic!("not an import") };
    assert_eq!(args.key(), ["a", "b"]);
}

#[test]
fn here_and_there_exclude_each_other() {
    assert!(Cli::try_parse_from(["syncline", "log", "-C", "a", "--on", "b"]).is_err());
    assert!(Cli::try_parse_from(["syncline", "root", "--table", "t", "--files"]).is_err());
}

#[test]
fn every_verb_has_an_example() {
    for verb in Cli::command().get_subcommands_mut() {
        let name = verb.get_name().to_owned();
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Example"), "`syncline {name} --help` shows no example");
        assert!(help.contains(&format!("syncline {name}")), "the example of {name} does not use it");
    }
}

#[test]
fn the_token_is_not_shown() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("SYNCLINE_TOKEN"));
    let mut token = Cli::command();
    token.build();
    let token = token.get_arguments().find(|a| a.get_id() == "token").expect("a token option");
    assert!(token.is_hide_env_values_set());
}
