//! Every verb on a replica of one's own.

use serde_json::json;

use crate::support::{Dir, Run, csv, syncline};

const THREE: &str = "id,name,price\n1,apple,0.5\n2,pear,0.75\n3,plum,1.25\n";

#[test]
fn a_table_goes_in_and_comes_out() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let report = replica.import(&dir, THREE);
    assert_eq!((&report["inserted"], &report["rows"], &report["staged"]), (&json!(3), &json!(3), &json!(false)));
    assert_eq!(report["root"].as_str().expect("a root").len(), 64);
    assert_eq!(replica.table(), THREE);

    let out = dir.text("out.parquet");
    let report = replica.json(["export", "--table", "t", "-o", out.as_str()]);
    assert_eq!(report["rows"], 3);
    // What comes out goes in again and is the same.
    let again = dir.replica("b");
    again.json(["import", out.as_str(), "--table", "t", "--key", "id", "-m", "again"]);
    assert_eq!(again.table(), THREE);
}

#[test]
fn import_without_a_message_stages() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let before = replica.root();
    let file = dir.write("more.csv", "id,price\n2,0.8\n4,9\n");
    let report = replica.json(["import", file.as_str(), "--table", "t"]);
    assert_eq!((&report["inserted"], &report["updated"], &report["staged"]), (&json!(1), &json!(1), &json!(true)));
    assert_eq!(replica.root(), before, "nothing is committed yet");

    let status = replica.json(["status"]);
    assert_eq!((&status["clean"], &status["staged"][0]["updated"]), (&json!(false), &json!(1)));
    let diff = replica.json(["diff", "--rows"]);
    assert_eq!(diff["rows"][0]["changed"], json!(["price"]));
    assert_eq!(diff["rows"][1]["kind"], "insert");

    let report = replica.json(["commit", "-m", "more", "--meta", "run=7"]);
    assert_eq!(report["committed"], true);
    assert_eq!(replica.json(["status"])["clean"], true);
    assert_eq!(replica.json(["commit", "-m", "nothing"])["committed"], false);
    let shown = replica.json(["show"]);
    assert_eq!(
        (&shown["author"], &shown["message"], &shown["meta"]),
        (&json!("tester"), &json!("more"), &json!({"run": "7"}))
    );
    // The column that was not given keeps its cell.
    assert!(replica.table().contains("2,pear,0.8\n"), "{}", replica.table());
}

#[test]
fn an_upsert_may_leave_out_columns_of_rows_that_exist() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let schema = dir.write(
        "schema.json",
        r#"[{"name": "id", "type": "int64", "nullable": false}, {"name": "name", "type": "utf8", "nullable": false},
            {"name": "price", "type": "decimal(8, 2)", "nullable": false}]"#,
    );
    let file = dir.write("first.csv", THREE);
    replica.json(["import", &file, "--table", "t", "--key", "id", "--schema", &schema, "-m", "first"]);
    let prices = dir.write("prices.csv", "id,price\n3,9\n1,0.6\n");
    let report = replica.json(["import", &prices, "--table", "t", "-m", "prices"]);
    assert_eq!((&report["updated"], &report["inserted"]), (&json!(2), &json!(0)));
    assert_eq!(replica.table(), "id,name,price\n1,apple,0.60\n2,pear,0.75\n3,plum,9.00\n");

    // A new row needs them: it is named, and nothing of its import stays.
    let before = replica.root();
    let more = dir.write("more.ndjson", "{\"id\":2,\"price\":\"3\"}\n{\"id\":4,\"price\":\"4\"}\n");
    let run = replica.run(["import", &more, "--table", "t", "-m", "more"]).ends(2);
    let says = format!("{more}:2: the row {{\"id\":4}} is new and lacks the column `name`, which may not be null");
    assert!(run.stderr.contains(&says), "{}", run.stderr);
    assert_eq!(replica.root(), before);
    let rejects = dir.text("rejects.ndjson");
    let report = replica.json(["import", &more, "--table", "t", "--reject", &rejects, "-m", "more"]);
    assert_eq!((&report["updated"], &report["read"]["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(replica.table(), "id,name,price\n1,apple,0.60\n2,pear,3.00\n3,plum,9.00\n");
    assert!(dir.read("rejects.ndjson").contains("\"line\":2"));
}

#[test]
fn the_modes_of_import() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let file = dir.write("x.csv", "id,name,price\n3,plum,2\n");
    replica.run(["import", &file, "--table", "t", "--mode", "append", "-m", "x"]).ends(4);
    let report = replica.json(["import", &file, "--table", "t", "--mode", "delete", "-m", "x"]);
    assert_eq!((&report["deleted"], &report["rows"]), (&json!(1), &json!(2)));
    let report = replica.json(["import", &file, "--table", "t", "--mode", "replace", "-m", "x"]);
    assert_eq!((&report["deleted"], &report["inserted"], &report["rows"]), (&json!(2), &json!(1), &json!(1)));
}

#[test]
fn standard_input_is_a_source() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let file = dir.write("rows.ndjson", "{\"id\":1,\"name\":\"x\"}\n{\"id\":2,\"name\":null}\n");
    let mut command = replica.command(["import", "-", "--format", "ndjson", "--table", "t", "--key", "id", "-m", "x"]);
    command.stdin(std::fs::File::open(file).expect("the file"));
    crate::support::Run::of(command).ok();
    assert_eq!(replica.table(), "id,name\n1,x\n2,\n");
}

#[test]
fn files_are_versioned_with_the_tables() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    dir.write("a/notes/one.md", "first");
    dir.write("a/big.bin", &"0123456789abcdef".repeat(20_000));
    let status = replica.json(["status"]);
    assert_eq!(status["files"].as_array().expect("files").len(), 2, "{status}");
    replica.json(["commit", "-m", "files"]);
    let first = replica.root();
    dir.write("a/notes/one.md", "second");
    replica.json(["commit", "-m", "edit"]);
    assert_ne!(replica.root(), first);
    let report = replica.json(["rollback", "HEAD~1"]);
    assert_eq!(report["root"], first.as_str());
    assert_eq!(dir.read("a/notes/one.md"), "first");
    assert_ne!(replica.json(["root", "--files"])["root"], first.as_str());
}

#[test]
fn history_shows_what_happened() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    replica.import(&dir, "id,price\n2,0.8\n");
    let file = dir.write("gone.csv", "id\n2\n");
    replica.json(["import", &file, "--table", "t", "--mode", "delete", "-m", "gone"]);
    let log = replica.json(["log"]);
    assert_eq!(log["commits"].as_array().expect("commits").len(), 3);
    assert_eq!(replica.json(["log", "-n", "1"])["commits"].as_array().expect("commits").len(), 1);
    let history = replica.json(["history", "--table", "t", "--key", "2"]);
    let actions: Vec<_> = history["events"].as_array().expect("events").iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions, ["delete", "update", "insert"]);
    assert_eq!(history["events"][1]["changed"], json!(["price"]));
    let diff = replica.json(["diff", "HEAD~2", "HEAD", "--table", "t"]);
    assert_eq!((&diff["trees"][0]["deleted"], &diff["equal"]), (&json!(1), &json!(false)));
    assert_eq!(replica.json(["diff", "HEAD", "HEAD"])["equal"], true);
}

#[test]
fn branches_tags_checkout_and_undo() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let first = replica.root();
    replica.json(["tag", "v1"]);
    replica.json(["branch", "side"]);
    replica.json(["checkout", "side"]);
    replica.import(&dir, "id,name,price\n4,fig,2\n");
    assert_ne!(replica.root(), first);
    replica.json(["checkout", "main"]);
    assert_eq!(replica.root(), first);
    let names = replica.json(["branch"])["names"].clone();
    assert_eq!(names.as_array().expect("names").len(), 2);
    assert_eq!(replica.json(["merge", "side"])["outcome"], "fast-forward");
    assert_ne!(replica.root(), first);
    replica.json(["undo"]);
    assert_eq!(replica.root(), first);
    replica.json(["branch", "--delete", "side"]);
    replica.run(["checkout", "side"]).ends(3);
    replica.run(["tag", "v1"]).ends(4);
    // A version that is no branch is staged.
    replica.import(&dir, "id,name,price\n5,kiwi,3\n");
    assert_eq!(replica.json(["checkout", "v1"])["staged"], true);
    replica.json(["commit", "-m", "as v1"]);
    assert_eq!(replica.root(), first);
}

#[test]
fn a_merge_with_a_conflict() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    replica.json(["branch", "side"]);
    replica.import(&dir, "id,name,price\n1,apple,10\n2,pear,20\n");
    replica.json(["checkout", "side"]);
    replica.import(&dir, "id,name,price\n1,apple,11\n3,prune,1.25\n");
    replica.json(["checkout", "main"]);
    let mut command = replica.command(["merge", "side"]);
    let report = crate::support::Run::of({
        command.arg("--json");
        command
    })
    .ends(4)
    .json();
    assert_eq!((&report["outcome"], &report["conflicts"]), (&json!("conflicts"), &json!(1)));
    replica.run(["commit", "-m", "too early"]).ends(4);
    let conflicts = replica.json(["conflicts"]);
    assert_eq!((&conflicts["open"], &conflicts["conflicts"][0]["columns"]), (&json!(1), &json!(["price"])));
    let shown = replica.run(["conflicts"]).ok().stdout;
    assert!(shown.contains("price") && shown.contains("theirs"), "{shown}");
    assert_eq!(replica.json(["resolve", "--theirs", "--table", "t", "--key", "1"])["open"], 0);
    replica.json(["commit", "-m", "merged"]);
    assert_eq!(replica.table(), "id,name,price\n1,apple,11.0\n2,pear,20.0\n3,prune,1.25\n");
    assert_eq!(replica.json(["show"])["parents"].as_array().expect("parents").len(), 2);
}

#[test]
fn columns_come_and_go() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let before = replica.root();
    let report = replica.json(["alter", "--table", "t", "--add", "stock:int32", "--rename", "price=amount"]);
    assert_eq!((&report["staged"], &report["rows"]), (&json!(true), &json!(3)));
    assert_eq!(report["columns"][3], json!({"name": "stock", "type": "int32", "nullable": true}));
    assert_eq!(replica.root(), before, "it is only staged");
    // The new column is filled by key, together with the change of columns in one version.
    let file = dir.write("stock.csv", "id,stock\n1,7\n3,9\n");
    let report = replica.json(["import", &file, "--table", "t", "-m", "stock"]);
    assert_eq!((&report["updated"], &report["staged"]), (&json!(2), &json!(false)));
    assert_eq!(replica.table(), "id,name,amount,stock\n1,apple,0.5,7\n2,pear,0.75,\n3,plum,1.25,9\n");
    let change = &replica.json(["diff", "HEAD~1", "HEAD"])["trees"][0];
    assert_eq!(change["schema_changed"], true);
    let columns = json!([{"change": "renamed", "from": "price", "name": "amount"},
        {"change": "added", "name": "stock", "type": "int32"}]);
    assert_eq!(change["columns"], columns);
    let text = replica.run(["diff", "HEAD~1", "HEAD"]).ok().stdout;
    assert!(text.contains("columns: price -> amount, + stock int32"), "{text}");

    replica.json(["alter", "--table", "t", "--drop", "stock", "--rename", "amount=price", "-m", "back"]);
    assert_eq!(replica.table(), THREE);
    assert_eq!(replica.json(["verify", "--deep"])["sound"], true);
}

#[test]
fn a_column_that_cannot_change_changes_nothing() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let before = replica.root();
    for (words, code) in [
        (["--drop", "id"], 2),
        (["--drop", "colour"], 3),
        (["--add", "name:utf8"], 2),
        (["--add", "x:colour"], 2),
        (["--rename", "name=price"], 2),
        (["--widen", "price:int8"], 2),
        (["--add", "x"], 2),
    ] {
        replica.run(["alter", "--table", "t", "-m", "x"].into_iter().chain(words)).ends(code);
    }
    replica.run(["alter", "--table", "u", "--drop", "x"]).ends(3);
    replica.run(["alter", "--table", "t"]).ends(2);
    assert_eq!(replica.root(), before);
    assert_eq!(replica.json(["status"])["clean"], true);
}

/// Scripts and benchmarks tell the work from starting a process by it.
#[test]
fn whatever_works_on_data_says_how_long_it_took() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    dir.write("a/file", "text");
    let took = |report: serde_json::Value| {
        let seconds = report["seconds"].as_f64();
        assert!(seconds.is_some_and(|seconds| seconds > 0.0 && seconds < 60.0), "{report}");
    };
    took(replica.import(&dir, THREE));
    took(replica.json(["commit", "-m", "file"]));
    took(replica.json(["status"]));
    took(replica.json(["diff", "HEAD~1", "HEAD", "--rows"]));
    replica.json(["branch", "side"]);
    took(replica.json(["checkout", "HEAD~1"]));
    took(replica.json(["checkout", "--force", "main"]));
    took(replica.json(["merge", "side"]));
    took(replica.json(["rollback", "HEAD~1", "--allow-mass-delete"]));
    took(replica.json(["alter", "--table", "t", "--add", "x:utf8", "-m", "x"]));
    took(replica.json(["export", "--table", "t", "-o", &dir.text("out.csv")]));
    took(replica.json(["verify"]));
    took(replica.json(["gc"]));
    took(syncline(["clone", &dir.text("a"), &dir.text("b"), "--json"]).ok().json());
}

#[test]
fn verify_and_gc() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 3_000, 1));
    replica.import(&dir, &csv(0, 3_000, 2));
    let report = replica.json(["verify", "--deep"]);
    assert_eq!((&report["sound"], &report["deep"], &report["versions"]), (&json!(true), &json!(true), &json!(2)));
    let root = replica.root();
    replica.json(["gc", "--keep-last", "1", "--grace", "0s"]);
    replica.json(["gc", "--keep-last", "1", "--grace", "0s"]);
    assert_eq!(replica.root(), root);
    assert_eq!(replica.json(["verify", "--deep"])["sound"], true);
    replica.run(["gc", "--keep-last", "0"]).ends(2);
}

#[test]
fn pages_are_readable() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let root = replica.run(["root"]).ok().stdout;
    assert_eq!(root.len(), 65, "64 digits and the end of the line: {root}");
    assert!(replica.run(["log"]).ok().stdout.contains("tester"));
    assert!(replica.run(["status"]).ok().stdout.contains("nothing to commit"));
    let show = replica.run(["show"]).ok().stdout;
    assert!(show.contains("price") && show.contains("import"), "{show}");
    assert_eq!(replica.run(["-q", "commit", "-m", "x"]).ok().stdout, "");
    assert_eq!(replica.run(["-q", "root"]).ok().stdout, root, "what was asked for is no noise");
    replica.json(["commit", "--allow-empty", "-m", "x", "--author", ""]);
    assert_ne!(replica.json(["log"])["commits"][0]["author"], "", "somebody makes each commit");
}

#[test]
fn long_messages_and_authors_are_cut_in_the_log() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let (message, author) = ("m".repeat(70_000), "a".repeat(70_000));
    replica.json(["commit", "--allow-empty", "-m", &message, "--author", &author]);
    replica.json(["commit", "--allow-empty", "-m", "next"]);
    let log = replica.run(["log"]).ok().stdout;
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[1].trim_end().ends_with("next"), "{log}");
    assert!(lines[2].ends_with("m…") && lines[2].contains("a…") && lines[2].chars().count() < 500, "{log}");
    let whole = replica.json(["log"]);
    assert_eq!(whole["commits"][1]["message"], json!(message));
}

#[test]
fn completion_and_help() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = syncline(["completion", shell]).ok().stdout;
        assert!(script.contains("rollback") && script.lines().count() > 100, "{shell}: {script}");
        let json = syncline(["completion", shell, "--json"]).ok().json();
        assert_eq!(json["shell"], shell);
        assert_eq!(json["script"].as_str().expect("text").trim_end(), script.trim_end());
        if shell == "bash" && cfg!(unix) {
            let mut bash = std::process::Command::new("bash");
            bash.args(["-n", &dir.write("completion.bash", &script)]);
            Run::of(bash).ok();
        }
    }
    assert!(syncline(["--help"]).ok().stdout.contains("rollback"));
    assert!(syncline(["import", "--help"]).ok().stdout.contains("Examples"));
    assert!(syncline(["--version"]).ok().stdout.starts_with("syncline "));
}

#[test]
fn a_dataset_is_made_where_the_options_say() {
    let dir = Dir::new();
    syncline(["init", "-C", &dir.text("a")]).ok();
    assert!(dir.path("a/.syncline").is_dir());
    syncline(["init", "--on", &dir.text("b")]).ok();
    assert!(dir.path("b/.syncline").is_dir());
    syncline(["init", "-C", &dir.text("a"), &dir.text("c")]).ends(2);
    let url = dir.text("a");
    syncline(["clone", &url, "-C", &dir.text("d")]).ok();
    assert!(dir.path("d/.syncline").is_dir());
    assert!(syncline(["clone", &url, "--on", &url]).ends(2).stderr.contains("DIR"));
    syncline(["clone", &url, &dir.text("e"), "--depth", "0"]).ends(2);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    assert!(replica.run(["alter", "--table", "t"]).ends(2).stderr.contains("--widen"));
    let words = ["up", "--listen", "0.0.0.0:0", "--data", &dir.text("data")];
    assert!(syncline(words).ends(2).stderr.contains("--tls-cert"));
    assert!(!dir.path("data").exists());
    let run = syncline(["clone", &dir.text("a"), &dir.text("b"), "--table", "mispelt"]).ends(3);
    assert!(run.stderr.contains("[\"t\"]"), "{}", run.stderr);
    assert!(!dir.path("b").exists());
    assert!(replica.run(["history", "--table", "u", "--key", "1"]).ends(3).stderr.contains("[\"t\"]"));
}

#[test]
fn a_shallow_clone_says_where_its_history_ends() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    dir.write("a/file", "x");
    replica.json(["commit", "-m", "file"]);
    syncline(["clone", &dir.text("a"), &dir.text("b"), "--depth", "1"]).ok();
    let shallow = crate::support::Replica(dir.path("b"));
    let told = shallow.run(["history", "--table", "t", "--key", "1"]).ok().stdout;
    assert!(told.contains("older ones are not here") && !told.contains("ever"), "{told}");
    assert!(shallow.run(["diff", "HEAD~1"]).ends(3).stderr.contains("shallow"));
}

#[test]
fn a_key_is_shown_as_it_is_given() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let import = |rows: &str| {
        let file = dir.write("rows.csv", rows);
        replica.json(["import", &file, "--table", "t", "--key", "a,b", "-m", "x"]);
    };
    import("a,b,v\nx,\"1,\\2\",1\n");
    import("a,b,v\nx,\"1,\\2\",2\n");
    let diff = replica.json(["diff", "HEAD~1", "HEAD", "--rows"]);
    let key = diff["rows"][0]["key"].as_str().expect("a key");
    assert_eq!(key, r"x,1\,\\2");
    let history = replica.json(["history", "--table", "t", "--key", key]);
    assert_eq!(history["events"].as_array().expect("events").len(), 2);
    assert!(replica.run(["history", "--table", "t", "--key", "x,1,2"]).ends(2).stderr.contains(r"\,"));
}

#[test]
fn every_key_that_is_shown_is_taken_back() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, THREE);
    let tables =
        [("n", "a", "a,b\n-5,x\n1,y\n"), ("k", "a,b", "a,b\n[1,2]\nx,[\n"), ("d", "a", "a,b\n-5877641-06-24,x\n")];
    for (table, key, rows) in tables {
        let file = dir.write("rows.csv", rows);
        replica.json(["import", file.as_str(), "--table", table, "--key", key, "-m", "x"]);
    }
    let diff = replica.json(["diff", "HEAD~3", "HEAD", "--rows"]);
    let rows = diff["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let (table, key) = (row["tree"]["table"].as_str().expect("a table"), row["key"].as_str().expect("a key"));
        let found = replica.json(["history", "--table", table, "--key", key]);
        assert_eq!(found["events"][0]["row"], row["after"], "{table} {key}");
    }
}

#[test]
fn cells_are_shown_with_every_digit() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    let import = |rows: &str| {
        let file = dir.write("rows.csv", rows);
        replica.json(["import", &file, "--table", "t", "--key", "id", "-m", "x"]);
    };
    import("id,f,v\n1,40.886830352249945,a\n");
    replica.json(["alter", "--table", "t", "--drop", "v", "-m", "x"]);
    import("id,f\n1,-0.0\n");
    for words in [&["history", "--table", "t", "--key", "1"][..], &["diff", "HEAD~1", "HEAD", "--rows"]] {
        let json = replica.run(words.iter().copied().chain(["--json"])).ok().stdout;
        assert!(json.contains(r#"{"id":1,"f":40.886830352249945"#) && json.contains(r#"{"id":1,"f":-0.0}"#), "{json}");
    }
    assert!(replica.run(["diff", "HEAD~1", "HEAD", "--rows"]).ok().stdout.contains("f: 40.886830352249945 -> -0.0"));
    assert!(replica.run(["history", "--table", "t", "--key", "1"]).ok().stdout.contains("v (column dropped)"));
}
