package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Rows have so many keys; they are written again and again.
const keys = 100_000

// How long a server may take to be ready, and a reader to see what was written last.
const patience = 60 * time.Second

// A Peer is a store with a reader elsewhere.
type Peer interface {
	// Prepare makes what a run needs, unmeasured.
	Prepare() error
	Start() error
	// Writer opens a connection that writes.
	Writer() (Writer, error)
	// Follow tells of each row that a reader sees. It returns when the reader is ready.
	Follow(seen func(id uint64)) error
	// Took gives the times of those rows whose arrival the server itself wrote down; none when Follow tells of them.
	Took(marks []time.Time) ([]time.Duration, error)
	// Check fails unless so many rows arrived, where they are to arrive.
	Check(rows uint64) error
	Stop()
}

// A Writer writes rows with the keys from `first` on, in one transaction where there are any, and returns when they are durable.
type Writer interface {
	Write(first uint64, rows int) error
}

// Step is what was measured.
type Step struct {
	Transactions uint64   `json:"transactions"`
	Rows         uint64   `json:"rows"`
	Seconds      float64  `json:"seconds"`
	PerSecond    float64  `json:"transactions_per_second"`
	RowsASecond  float64  `json:"rows_per_second"`
	Latency      Quantile `json:"latency_us"`
}

// Quantile is in microseconds.
type Quantile struct {
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

func step(rowsEach int, elapsed time.Duration, took []time.Duration) (*Step, error) {
	if len(took) == 0 {
		return nil, fmt.Errorf("nothing was written")
	}
	slices.Sort(took)
	at := func(share float64) int64 {
		return took[min(int(float64(len(took))*share), len(took)-1)].Microseconds()
	}
	transactions, seconds := uint64(len(took)), elapsed.Seconds()
	rows := transactions * uint64(rowsEach)
	return &Step{
		transactions, rows, seconds, float64(transactions) / seconds, float64(rows) / seconds,
		Quantile{at(0.5), at(0.99), at(0.999), at(1)},
	}, nil
}

func measure(o Options, peer Peer) (*Step, uint64, error) {
	switch o.work {
	case "one":
		return closed(o, peer, 1, 1)
	case "many":
		return closed(o, peer, o.writers, 1)
	case "batch":
		return closed(o, peer, 2, o.rows)
	case "visible":
		return visible(o, peer)
	}
	return nil, 0, fmt.Errorf("no such work")
}

func open(peer Peer, count int) ([]Writer, error) {
	writers := make([]Writer, count)
	for nth := range writers {
		writer, err := peer.Writer()
		if err != nil {
			return nil, err
		}
		writers[nth] = writer
	}
	return writers, nil
}

// closed has writers that write their next transaction when the one before is durable.
func closed(o Options, peer Peer, count, rows int) (*Step, uint64, error) {
	writers, err := open(peer, count)
	if err != nil {
		return nil, 0, err
	}
	var next atomic.Uint64
	var all sync.WaitGroup
	took, failed := make([][]time.Duration, count), make([]error, count)
	begin, until := time.Now(), time.Duration(o.seconds*float64(time.Second))
	for nth, writer := range writers {
		all.Go(func() {
			for time.Since(begin) < until && failed[nth] == nil {
				first := next.Add(uint64(rows)) - uint64(rows)
				at := time.Now()
				failed[nth] = writer.Write(first, rows)
				took[nth] = append(took[nth], time.Since(at))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(begin)
	for _, err := range failed {
		if err != nil {
			return nil, 0, err
		}
	}
	step, err := step(rows, elapsed, slices.Concat(took...))
	return step, next.Load(), err
}

// visible writes single rows at an even rate. Each counts from when it was due to be sent, whether or not a writer was free.
func visible(o Options, peer Peer) (*Step, uint64, error) {
	count := int(o.seconds * float64(o.rate))
	if count > keys {
		return nil, 0, fmt.Errorf("%d rows are more than there are keys", count)
	}
	writers, err := open(peer, o.writers)
	if err != nil {
		return nil, 0, err
	}
	sent, took := make([]atomic.Int64, count), make([]time.Duration, 0, count)
	all, begin := make(chan struct{}), time.Now()
	err = peer.Follow(func(id uint64) {
		took = append(took, time.Since(begin)-time.Duration(sent[id].Load()))
		if len(took) == count {
			close(all)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	queue, failed := make(chan uint64, count), make(chan error, len(writers))
	var durable sync.WaitGroup
	for _, writer := range writers {
		durable.Go(func() {
			for id := range queue {
				if err := writer.Write(id, 1); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	from := time.Now()
	for nth := range count {
		// Timers of the runtime are a millisecond wide, those of the system are not.
		pause := time.Duration(float64(nth)/float64(o.rate)*float64(time.Second)) - time.Since(from)
		if pause > 0 {
			nap := syscall.NsecToTimespec(pause.Nanoseconds())
			_ = syscall.Nanosleep(&nap, nil)
		}
		sent[nth].Store(int64(time.Since(begin)))
		queue <- uint64(nth)
	}
	close(queue)
	durable.Wait()
	select {
	case err := <-failed:
		return nil, 0, err
	default:
	}
	marks := make([]time.Time, count)
	for nth := range marks {
		marks[nth] = begin.Add(time.Duration(sent[nth].Load()))
	}
	written := time.Since(from)
	theirs, err := peer.Took(marks)
	if err != nil {
		return nil, 0, err
	}
	if theirs != nil {
		step, err := step(1, written, theirs)
		return step, uint64(count), err
	}
	select {
	case <-all:
	case <-time.After(patience):
		return nil, 0, fmt.Errorf("the reader has not seen all of the %d rows after %s", count, patience)
	}
	step, err := step(1, time.Since(from), took)
	return step, uint64(count), err
}

// wait tries until `ready` has nothing to say against it.
func wait(what string, ready func() error) error {
	until := time.Now().Add(patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("waited %s for %s: %w", patience, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// mark and pad make a row as long as ours: the key, a mark and digits.
const mark = "@0@"

func pad(id uint64, bytes int) string { return fmt.Sprintf("%0*d", max(bytes-28, 1), id) }
