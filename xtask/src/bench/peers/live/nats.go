package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const stream = "bench"

// natsServer is one server with a stream on disk. It has no second server: its reader reads the stream itself.
type natsServer struct {
	o       Options
	servers servers
	url     string
}

func (n *natsServer) Prepare() error { return nil }

func (n *natsServer) Start() error {
	free, err := ports(1)
	if err != nil {
		return err
	}
	n.url = "nats://127.0.0.1:" + strconv.Itoa(free[0])
	extra := ""
	if n.o.syncAlways {
		extra = ", sync_interval: always"
	}
	config := fmt.Sprintf("listen: \"127.0.0.1:%d\"\njetstream { store_dir: %q%s }\n", free[0], filepath.Join(n.o.dir, "store"), extra)
	path := filepath.Join(n.o.dir, "nats.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return err
	}
	if err := n.servers.start(n.o.dir, "nats", exec.Command(n.o.bin, "-c", path)); err != nil {
		return err
	}
	return wait("the server", func() error {
		js, err := n.connect()
		if err != nil {
			return err
		}
		defer js.Conn().Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{stream}, Storage: jetstream.FileStorage})
		return err
	})
}

func (n *natsServer) connect() (jetstream.JetStream, error) {
	conn, err := nats.Connect(n.url)
	if err != nil {
		return nil, err
	}
	return jetstream.New(conn)
}

type natsWriter struct {
	js    jetstream.JetStream
	bytes int
}

func (n *natsServer) Writer() (Writer, error) {
	js, err := n.connect()
	return &natsWriter{js, n.o.bytes}, err
}

// Write publishes one message and waits for its acknowledgement, or all of them and waits for all: those are no transaction.
func (w *natsWriter) Write(first uint64, rows int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if rows == 1 {
		_, err := w.js.Publish(ctx, stream, row(first%keys, w.bytes))
		return err
	}
	futures := make([]jetstream.PubAckFuture, rows)
	for nth := range futures {
		future, err := w.js.PublishAsync(stream, row((first+uint64(nth))%keys, w.bytes))
		if err != nil {
			return err
		}
		futures[nth] = future
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return err
		case <-ctx.Done():
			return fmt.Errorf("no acknowledgement after %s", patience)
		}
	}
	return nil
}

// row is the key and the text.
func row(id uint64, bytes int) []byte {
	return append(binary.BigEndian.AppendUint64(nil, id), mark+pad(id, bytes)...)
}

// Follow consumes the stream in its order.
func (n *natsServer) Follow(seen func(id uint64)) error {
	js, err := n.connect()
	if err != nil {
		return err
	}
	consumer, err := js.OrderedConsumer(context.Background(), stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	_, err = consumer.Consume(func(message jetstream.Msg) {
		if data := message.Data(); len(data) >= 8 {
			seen(binary.BigEndian.Uint64(data))
		}
	})
	return err
}

func (n *natsServer) Took([]time.Time) ([]time.Duration, error) { return nil, nil }

// Check counts the messages.
func (n *natsServer) Check(rows uint64) error {
	js, err := n.connect()
	if err != nil {
		return err
	}
	defer js.Conn().Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	if messages := found.CachedInfo().State.Msgs; messages != rows {
		return fmt.Errorf("%d of %d messages are in the stream", messages, rows)
	}
	return nil
}

func (n *natsServer) Stop() { n.servers.stop(syscall.SIGTERM) }
