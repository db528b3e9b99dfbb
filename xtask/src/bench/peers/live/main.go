// Command live drives a durable store for `cargo xtask bench live` and prints one JSON object of what it measured, in the words of
// `syncline bench live --json`.
//
// Owns: the servers that it starts in a directory of its own, which end with it. `-prepare` makes what a run needs and is not
// measured: empty databases, a subscription.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
)

// Options say what is measured.
type Options struct {
	peer, work, dir, bin               string
	seconds                            float64
	writers, rows, bytes, rate         int
	prepare, syncAlways, atTheirInsert bool
}

// A server ends with the thread that started it, so that thread is the one that lives as long as this process.
func init() { runtime.LockOSThread() }

func main() {
	var o Options
	flag.StringVar(&o.peer, "peer", "", "postgresql, redis or nats")
	flag.StringVar(&o.work, "work", "", "one, many, batch or visible")
	flag.StringVar(&o.dir, "dir", "", "where the servers keep their data")
	flag.StringVar(&o.bin, "bin", "", "the server, or the directory of PostgreSQL's programs")
	flag.Float64Var(&o.seconds, "seconds", 5, "how long")
	flag.IntVar(&o.writers, "writers", 64, "writers of `many` and of `visible`")
	flag.IntVar(&o.rows, "rows", 1000, "rows of a transaction of `batch`")
	flag.IntVar(&o.bytes, "bytes", 100, "bytes of a row")
	flag.IntVar(&o.rate, "rate", 5000, "transactions per second of `visible`")
	flag.BoolVar(&o.prepare, "prepare", false, "make what a run needs, and end")
	flag.BoolVar(&o.syncAlways, "sync-always", false, "NATS: sync each message to disk")
	flag.BoolVar(&o.atTheirInsert, "at-their-insert", false, "PostgreSQL: seen is the subscriber's insert, and nobody is told")
	flag.Parse()
	report, err := run(o)
	if err == nil && report != nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "live %s %s: %v\n", o.peer, o.work, err)
		os.Exit(1)
	}
}

func run(o Options) (*Step, error) {
	var peer Peer
	switch o.peer {
	case "postgresql":
		peer = &postgres{o: o}
	case "redis":
		peer = &redis{o: o}
	case "nats":
		peer = &natsServer{o: o}
	default:
		return nil, fmt.Errorf("no such peer")
	}
	defer peer.Stop()
	if o.prepare {
		return nil, peer.Prepare()
	}
	if err := peer.Start(); err != nil {
		return nil, err
	}
	step, written, err := measure(o, peer)
	if err != nil {
		return nil, err
	}
	return step, peer.Check(written)
}
