"""Table peers of the benchmark: Lance, Delta, DoltLite, DataFusion. Run by `cargo xtask bench`.

    tables.py PEER STEP JSON

One step per process. Prints one JSON object: `seconds` is the operation as the tool does it, without starting Python and
importing the tool; `synced` is the same plus flushing the file system, for tools that do not flush by themselves (equal
durability); `cpu` belongs to `synced`; the rest is what the step found, so that the harness can check it.
"""

import ctypes
import json
import os
import resource
import sys
import time

PEER, STEP, ARGS = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
LIBC = ctypes.CDLL(None, use_errno=True)


def syncfs(path):
    """Waits until everything of the file system that holds `path` is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if LIBC.syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(handle)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(operation, flush=None):
    """Runs `operation` and reports its times; `flush` names the directory of a tool that does not sync by itself."""
    cpu_before, start = cpu(), time.perf_counter()
    found = operation()
    seconds = synced = time.perf_counter() - start
    if flush is not None:
        syncfs(flush)
        synced = time.perf_counter() - start
    report = {"seconds": seconds, "synced": synced, "cpu": cpu() - cpu_before}
    report.update(found or {})
    print(json.dumps(report))


def batches(path):
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).iter_batches(batch_size=65536)


def reader(path):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if path.endswith(".csv"):
        return pa.csv.open_csv(path)
    return pa.RecordBatchReader.from_batches(pq.read_schema(path), batches(path))


def table(path):
    import pyarrow.parquet as pq

    return pq.read_table(path)


class Lance:
    """Lance: columnar fragments, deletion vectors. Does not flush; has no merge, and no push of its own."""

    def __init__(self):
        import lance

        self.lance = lance
        self.store = ARGS["store"]

    def load(self):
        parent = os.path.dirname(self.store)
        measured(
            lambda: {
                "rows": self.lance.write_dataset(
                    reader(ARGS["input"]), self.store, enable_stable_row_ids=True
                ).count_rows()
            },
            flush=parent,
        )

    def edit(self):
        dataset, edits = self.lance.dataset(self.store), table(ARGS["input"])

        def apply():
            merge = dataset.merge_insert(ARGS["key"]).when_matched_update_all().when_not_matched_insert_all()
            done = merge.execute(edits)
            return {"rows": done["num_updated_rows"] + done["num_inserted_rows"]}

        measured(apply, flush=self.store)

    def diff(self):
        dataset = self.lance.dataset(self.store)

        def compare():
            delta = dataset.delta(compared_against=dataset.version - 1)
            changed = [delta.get_inserted_rows(), delta.get_updated_rows()]
            return {"rows": sum(batch.num_rows for stream in changed for batch in stream)}

        measured(compare)

    def scan(self):
        dataset = self.lance.dataset(self.store)
        measured(lambda: {"rows": sum(batch.num_rows for batch in dataset.to_batches())})

    def version(self):
        print(json.dumps({"version": self.lance.__version__}))


class Delta:
    """Delta Lake by delta-rs: rewrites the files that hold changed rows. Does not flush; no merge of branches, no push."""

    def __init__(self):
        import deltalake

        self.deltalake = deltalake
        self.store = ARGS["store"]

    def load(self):
        def write():
            self.deltalake.write_deltalake(
                self.store, reader(ARGS["input"]), configuration={"delta.enableChangeDataFeed": "true"}
            )
            return {"rows": self.deltalake.DeltaTable(self.store).count()}

        measured(write, flush=os.path.dirname(self.store))

    def edit(self):
        target, edits = self.deltalake.DeltaTable(self.store), table(ARGS["input"])

        def apply():
            same = " and ".join(f"t.{column} = s.{column}" for column in ARGS["key"])
            merge = target.merge(edits, same, source_alias="s", target_alias="t")
            done = merge.when_matched_update_all().when_not_matched_insert_all().execute()
            return {"rows": done["num_target_rows_updated"] + done["num_target_rows_inserted"]}

        measured(apply, flush=self.store)

    def diff(self):
        import pyarrow as pa

        target = self.deltalake.DeltaTable(self.store)

        def compare():
            version = target.version()
            feed = pa.RecordBatchReader.from_stream(
                target.load_cdf(starting_version=version, ending_version=version, columns=["_change_type"])
            )
            kinds = feed.read_all().column("_change_type").to_pylist()
            return {"rows": sum(kind != "update_preimage" for kind in kinds)}

        measured(compare)

    def scan(self):
        import pyarrow as pa

        target = self.deltalake.DeltaTable(self.store)
        query = self.deltalake.QueryBuilder().register("t", target)

        def read():
            stream = pa.RecordBatchReader.from_stream(query.execute("select * from t"))
            return {"rows": sum(batch.num_rows for batch in stream)}

        measured(read)

    def version(self):
        print(json.dumps({"version": self.deltalake.__version__}))


class DoltLite:
    """DoltLite: SQLite's interface on prolly trees. Flushes (synchronous=full); commits, merges, pushes and clones."""

    def __init__(self):
        import doltlite  # noqa: F401  (replaces the SQLite engine before sqlite3 is loaded)
        import pyarrow.parquet  # noqa: F401  (here, so that no step pays for loading it)
        import sqlite3

        self.connection = sqlite3.connect(os.path.join(ARGS["store"], "data.db"), isolation_level=None)

    def sql(self, text, *values):
        return self.connection.execute(text, values).fetchall()

    @staticmethod
    def kind(arrow_type):
        import pyarrow.types as types

        if types.is_integer(arrow_type):
            return "integer"
        return "real" if types.is_decimal(arrow_type) or types.is_floating(arrow_type) else "text"

    @staticmethod
    def plain(column):
        """The column as SQLite takes it: decimals become reals, dates and times text."""
        import pyarrow as pa
        import pyarrow.types as types

        if types.is_decimal(column.type):
            column = column.cast(pa.float64())
        elif types.is_temporal(column.type):
            column = column.cast(pa.string())
        return column.to_pylist()

    def rows(self, path):
        for batch in batches(path):
            yield from zip(*(self.plain(column) for column in batch.columns))

    def edits(self, path):
        """A file of edits in memory, as the other peers get it: names and rows."""
        import pyarrow.parquet as pq

        return pq.read_schema(path).names, list(self.rows(path))

    def upsert(self, edits):
        names, rows = edits
        marks = ",".join("?" * len(names))
        update = ",".join(f"{name}=excluded.{name}" for name in names if name not in ARGS["key"])
        before = self.connection.total_changes
        self.sql("begin")
        self.connection.executemany(
            f"insert into t values({marks}) on conflict({','.join(ARGS['key'])}) do update set {update}", rows
        )
        self.sql("commit")
        return self.connection.total_changes - before

    def commit(self):
        self.sql("select dolt_commit('-A', '-m', 'benchmark')")

    def load(self):
        import pyarrow.parquet as pq

        def write():
            schema = pq.read_schema(ARGS["input"])
            columns = ",".join(f"{field.name} {self.kind(field.type)}" for field in schema)
            self.sql(f"create table t({columns}, primary key({','.join(ARGS['key'])}))")
            marks = ",".join("?" * len(schema.names))
            self.sql("begin")
            self.connection.executemany(f"insert into t values({marks})", self.rows(ARGS["input"]))
            self.sql("commit")
            self.commit()
            return {"rows": self.sql("select count(*) from t")[0][0]}

        measured(write)

    def edit(self):
        edits = self.edits(ARGS["input"])

        def apply():
            rows = self.upsert(edits)
            self.commit()
            return {"rows": rows}

        measured(apply)

    def diff(self):
        measured(lambda: {"rows": self.sql("select count(*) from dolt_diff_t('HEAD~1..HEAD')")[0][0]})

    def scan(self):
        def read():
            cursor, rows = self.connection.execute("select * from t"), 0
            while batch := cursor.fetchmany(65536):
                rows += len(batch)
            return {"rows": rows}

        measured(read)

    def branches(self):
        """Not measured: two branches from here, each with edits of its own."""
        for name, path in zip(("ours", "theirs"), ARGS["inputs"]):
            self.sql("select dolt_checkout('main')")
            self.sql("select dolt_branch(?)", name)
            self.sql("select dolt_checkout(?)", name)
            self.upsert(self.edits(path))
            self.commit()
        self.sql("select dolt_checkout('ours')")
        print(json.dumps({"seconds": 0, "synced": 0, "cpu": 0}))

    def merge(self):
        self.sql("select dolt_checkout('ours')")

        def apply():
            self.sql("select dolt_merge('theirs')")
            return {}

        measured(apply)

    def push(self):
        if not self.sql("select 1 from dolt_remotes where name = 'origin'"):
            self.sql("select dolt_remote('add', 'origin', ?)", "file://" + ARGS["remote"])

        def send():
            self.sql("select dolt_push('origin', 'main')")
            return {}

        measured(send)

    def clone(self):
        def fetch():
            self.sql("select dolt_clone(?)", "file://" + ARGS["remote"])
            return {"rows": self.sql("select count(*) from t")[0][0]}

        measured(fetch)

    def version(self):
        print(json.dumps({"version": self.sql("select dolt_version()")[0][0].lstrip("v")}))


class DataFusion:
    """DataFusion on the input's file: how fast a scan can be."""

    def __init__(self):
        import datafusion

        self.datafusion = datafusion

    def scan(self):
        context = self.datafusion.SessionContext()
        register = context.register_csv if ARGS["input"].endswith(".csv") else context.register_parquet
        register("t", ARGS["input"])

        def read():
            stream = context.sql("select * from t").execute_stream()
            return {"rows": sum(batch.to_pyarrow().num_rows for batch in stream)}

        measured(read)

    def version(self):
        print(json.dumps({"version": self.datafusion.__version__}))


def main():
    peers = {"lance": Lance, "delta": Delta, "doltlite": DoltLite, "datafusion": DataFusion}
    getattr(peers[PEER](), STEP)()


main()
