package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// redis is a primary that syncs its log before it answers, and a replica.
type redis struct {
	o       Options
	servers servers
	ports   []int
}

func (r *redis) Prepare() error { return nil }

func (r *redis) Start() error {
	free, err := ports(2)
	if err != nil {
		return err
	}
	r.ports = free
	own := [][]string{
		{"--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"},
		{"--replicaof", "127.0.0.1 " + strconv.Itoa(free[0]), "--notify-keyspace-events", "E$"},
	}
	for nth, name := range []string{"primary", "replica"} {
		args := append([]string{
			"--bind", "127.0.0.1", "--port", strconv.Itoa(free[nth]), "--save", "", "--dbfilename", name + ".rdb", "--dir", r.o.dir,
		}, own[nth]...)
		cmd := exec.Command(r.o.bin, args...)
		if err := r.servers.start(r.o.dir, name, cmd); err != nil {
			return err
		}
	}
	return wait("the replica", func() error {
		info, err := r.ask(1, "INFO", "replication")
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = fmt.Errorf("it has no link to the primary")
		}
		return err
	})
}

func (r *redis) ask(nth int, words ...string) (string, error) {
	conn, err := dial(r.ports[nth])
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.call(words...)
}

type redisWriter struct {
	*resp
	bytes int
}

func (r *redis) Writer() (Writer, error) {
	conn, err := dial(r.ports[0])
	return &redisWriter{conn, r.o.bytes}, err
}

// Write sets one key, or all of them by one command, which is atomic.
func (w *redisWriter) Write(first uint64, rows int) error {
	words := make([]string, 1, 1+2*rows)
	words[0] = "SET"
	if rows > 1 {
		words[0] = "MSET"
	}
	for nth := range rows {
		id := (first + uint64(nth)) % keys
		words = append(words, strconv.FormatUint(id, 10), mark+pad(id, w.bytes))
	}
	said, err := w.call(words...)
	if err == nil && said != "OK" {
		err = fmt.Errorf("it said %q", said)
	}
	return err
}

// Follow subscribes to the replica's own events.
func (r *redis) Follow(seen func(id uint64)) error {
	conn, err := dial(r.ports[1])
	if err != nil {
		return err
	}
	if _, err := conn.call("SUBSCRIBE", "__keyevent@0__:set"); err != nil {
		return err
	}
	go func() {
		for {
			// The connection ends with the server; who waits for the rows says which are missing.
			last, err := conn.reply()
			if err != nil {
				return
			}
			if id, err := strconv.ParseUint(last, 10, 64); err == nil {
				seen(id)
			}
		}
	}()
	return nil
}

func (r *redis) Took([]time.Time) ([]time.Duration, error) { return nil, nil }

// Check counts the keys on both sides.
func (r *redis) Check(rows uint64) error {
	for nth := range r.ports {
		err := wait("the rows", func() error {
			found, err := r.ask(nth, "DBSIZE")
			if err == nil && found != strconv.FormatUint(min(rows, keys), 10) {
				err = fmt.Errorf("%s of %d rows are there", found, min(rows, keys))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *redis) Stop() { r.servers.stop(syscall.SIGTERM) }

// resp is a connection that speaks Redis's protocol.
type resp struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

func dial(port int) (*resp, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	return &resp{conn, bufio.NewReader(conn), bufio.NewWriter(conn)}, nil
}

func (c *resp) call(words ...string) (string, error) {
	fmt.Fprintf(c.out, "*%d\r\n", len(words))
	for _, word := range words {
		c.out.WriteString("$" + strconv.Itoa(len(word)) + "\r\n")
		c.out.WriteString(word)
		c.out.WriteString("\r\n")
	}
	if err := c.out.Flush(); err != nil {
		return "", err
	}
	return c.reply()
}

// reply reads one reply; of a list, its last word.
func (c *resp) reply() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", fmt.Errorf("an empty reply")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", fmt.Errorf("it refused: %s", line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", err
		}
		text := make([]byte, size+2)
		_, err = io.ReadFull(c.in, text)
		return string(text[:size]), err
	case '*':
		count, err := strconv.Atoi(line[1:])
		last := ""
		for nth := 0; nth < count && err == nil; nth++ {
			last, err = c.reply()
		}
		return last, err
	}
	return "", fmt.Errorf("a reply that is not understood: %q", line)
}
