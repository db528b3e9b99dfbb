package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	upsert = " ON CONFLICT (id) DO UPDATE SET mark = EXCLUDED.mark, pad = EXCLUDED.pad"
	single = "INSERT INTO bench (id, mark, pad) VALUES ($1, $2, $3)" + upsert
	batch  = "INSERT INTO bench (id, mark, pad) SELECT id, $2, lpad(id::text, $3, '0') FROM unnest($1::bigint[]) id" + upsert
)

// postgres is a publisher and a subscriber with their defaults: each commit is synced at the publisher.
type postgres struct {
	o       Options
	servers servers
	ports   [2]int
}

var sides = [2]string{"publisher", "subscriber"}

func (p *postgres) place(side int) string { return filepath.Join(p.o.dir, sides[side]) }

func (p *postgres) url(side int) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=bench dbname=postgres", p.ports[side])
}

func (p *postgres) command(name string, args ...string) (*exec.Cmd, error) {
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(p.o.bin, name), args...)
	cmd.Dir = p.o.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	return cmd, nil
}

// Prepare makes two clusters with the table, and the subscription of one to the other.
func (p *postgres) Prepare() error {
	who, err := unprivileged()
	if err != nil {
		return err
	}
	if who != nil {
		if err := os.Chown(p.o.dir, int(who.Uid), int(who.Gid)); err != nil {
			return err
		}
	}
	free, err := ports(2)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d %d", free[0], free[1])
	if err := os.WriteFile(filepath.Join(p.o.dir, "ports"), []byte(text), 0o644); err != nil {
		return err
	}
	for side := range sides {
		initdb, err := p.command("initdb", "-D", p.place(side), "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
		if err != nil {
			return err
		}
		if said, err := initdb.CombinedOutput(); err != nil {
			return fmt.Errorf("initdb: %w: %s", err, said)
		}
	}
	if err := p.Start(); err != nil {
		return err
	}
	table := "CREATE TABLE bench (id bigint PRIMARY KEY, mark text NOT NULL, pad text NOT NULL"
	subscriber := []string{table + ", seen timestamptz DEFAULT clock_timestamp())"}
	if !p.o.atTheirInsert {
		subscriber = append(subscriber,
			"CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_notify(''seen'', NEW.id::text); RETURN NULL; END'",
			"CREATE TRIGGER tell AFTER INSERT ON bench FOR EACH ROW EXECUTE FUNCTION tell()")
		if p.o.work == "visible" {
			subscriber = append(subscriber, "ALTER TABLE bench ENABLE REPLICA TRIGGER tell")
		}
	}
	connection := fmt.Sprintf("CREATE SUBSCRIPTION s CONNECTION '%s' PUBLICATION p WITH (copy_data = false)", p.url(0))
	subscriber = append(subscriber, connection)
	for side, statements := range [][]string{{table + ")", "CREATE PUBLICATION p FOR TABLE bench"}, subscriber} {
		for _, statement := range statements {
			if _, err := p.ask(side, statement); err != nil {
				return fmt.Errorf("%s: %s: %w", sides[side], statement, err)
			}
		}
	}
	return nil
}

// Start starts both and waits until the subscription streams.
func (p *postgres) Start() error {
	text, err := os.ReadFile(filepath.Join(p.o.dir, "ports"))
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(text), &p.ports[0], &p.ports[1]); err != nil {
		return err
	}
	for side := range sides {
		cmd, err := p.command("postgres", "-D", p.place(side), "-p", strconv.Itoa(p.ports[side]), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "wal_level=logical", "-c", "max_connections=200", "-c", "log_min_messages=error")
		if err != nil {
			return err
		}
		if err := p.servers.start(p.o.dir, sides[side], cmd); err != nil {
			return err
		}
		if err := wait(sides[side], func() error { _, err := p.ask(side, "SELECT 1"); return err }); err != nil {
			return err
		}
	}
	if p.o.prepare {
		return nil
	}
	return wait("the subscription", func() error {
		streams, err := p.ask(0, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
		if err == nil && streams != 1 {
			err = fmt.Errorf("%d of 1 stream", streams)
		}
		return err
	})
}

// ask runs a statement on a connection of its own and gives its one number, if it has one.
func (p *postgres) ask(side int, statement string) (int64, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.url(side))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	var number int64
	if !strings.HasPrefix(statement, "SELECT") {
		_, err = conn.Exec(ctx, statement)
		return 0, err
	}
	err = conn.QueryRow(ctx, statement).Scan(&number)
	return number, err
}

type pgWriter struct {
	conn  *pgx.Conn
	bytes int
}

func (p *postgres) Writer() (Writer, error) {
	conn, err := pgx.Connect(context.Background(), p.url(0))
	return &pgWriter{conn, p.o.bytes}, err
}

// Write is one statement, so it is one transaction.
func (w *pgWriter) Write(first uint64, rows int) error {
	if rows == 1 {
		id := first % keys
		_, err := w.conn.Exec(context.Background(), single, int64(id), mark, pad(id, w.bytes))
		return err
	}
	ids := make([]int64, rows)
	for nth := range ids {
		ids[nth] = int64((first + uint64(nth)) % keys)
	}
	_, err := w.conn.Exec(context.Background(), batch, ids, mark, max(w.bytes-28, 1))
	return err
}

// Follow listens to the subscriber, whose trigger tells of each row when the apply worker commits it.
func (p *postgres) Follow(seen func(id uint64)) error {
	if p.o.atTheirInsert {
		return nil
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.url(1))
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN seen"); err != nil {
		return err
	}
	go func() {
		for {
			// The connection ends with the server; who waits for the rows says which are missing.
			told, err := conn.WaitForNotification(ctx)
			if err != nil {
				return
			}
			if id, err := strconv.ParseUint(told.Payload, 10, 64); err == nil {
				seen(id)
			}
		}
	}()
	return nil
}

// Took reads what the subscriber's clock said when it inserted each row: the same machine's clock.
func (p *postgres) Took(marks []time.Time) ([]time.Duration, error) {
	if !p.o.atTheirInsert {
		return nil, nil
	}
	if err := p.arrived(1, int64(len(marks))); err != nil {
		return nil, err
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, p.url(1))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT id, seen FROM bench")
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for rows.Next() {
		var id int64
		var seen time.Time
		if err := rows.Scan(&id, &seen); err != nil {
			return nil, err
		}
		took = append(took, seen.Sub(marks[id]))
	}
	return took, rows.Err()
}

func (p *postgres) arrived(side int, rows int64) error {
	return wait("the rows at the "+sides[side], func() error {
		found, err := p.ask(side, "SELECT count(*) FROM bench")
		if err == nil && found != rows {
			err = fmt.Errorf("%d of %d rows are there", found, rows)
		}
		return err
	})
}

// Check counts the rows on both sides.
func (p *postgres) Check(rows uint64) error {
	for side := range sides {
		if err := p.arrived(side, int64(min(rows, keys))); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends both fast, the subscriber first.
func (p *postgres) Stop() { p.servers.stop(syscall.SIGINT) }
