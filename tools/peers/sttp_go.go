// sttp_go: an STTP server as a Go programmer would first write it, and with some care: the language's own way.
//
// A goroutine for each connection, buffered reading and writing, replies flushed when nothing more has been received,
// one mutex around a least-recently-used cache whose entries expire. UPDATE is durable: a temporary file in the same
// directory, fsync, rename, fsync of the directory, then the cache entry goes.
//
// It answers SHOW and UPDATE of files in existing directories, and refuses the rest. It is lighter than sttpd's rules
// in the ways that cost time: it does not check UTF-8, lengths or control characters, follows symbolic links, has no
// time limits, lets a read that is under way put an old text back into the cache, and reads one file twice if two ask
// for it at once.
//
// GOMAXPROCS, from the environment, is how many cores it uses; tools/bench.sh sets it to what sttpd has processes.
//
// usage: sttp_go [-cache=false] PORT DOCROOT
package main

import (
	"bufio"
	"bytes"
	"container/list"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	cacheFiles = 100000
	expiration = 300 * time.Second
)

type entry struct {
	path    string
	reply   []byte
	expires time.Time
}

// cache holds ready replies by path. A nil cache holds nothing.
type cache struct {
	mutex   sync.Mutex
	entries map[string]*list.Element
	order   *list.List // most recently used first
}

func newCache() *cache {
	return &cache{entries: make(map[string]*list.Element), order: list.New()}
}

func (c *cache) get(path []byte) []byte {
	if c == nil {
		return nil
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	element, ok := c.entries[string(path)] // no copy is made for a look-up
	if !ok {
		return nil
	}
	found := element.Value.(*entry)
	if time.Now().After(found.expires) {
		c.remove(element)
		return nil
	}
	c.order.MoveToFront(element)
	return found.reply
}

func (c *cache) put(path string, reply []byte) {
	if c == nil {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if element, ok := c.entries[path]; ok {
		c.remove(element)
	}
	c.entries[path] = c.order.PushFront(&entry{path, reply, time.Now().Add(expiration)})
	if c.order.Len() > cacheFiles {
		c.remove(c.order.Back())
	}
}

func (c *cache) drop(path string) {
	if c == nil {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if element, ok := c.entries[path]; ok {
		c.remove(element)
	}
}

// remove needs the lock held.
func (c *cache) remove(element *list.Element) {
	c.order.Remove(element)
	delete(c.entries, element.Value.(*entry).path)
}

type server struct {
	docroot string
	cache   *cache
}

var (
	show   = []byte("SHOW ")
	update = []byte("UPDATE ")
)

func (s *server) serve(connection net.Conn) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	writer := bufio.NewWriter(connection)
	for {
		line, err := reader.ReadSlice('\n') // valid until the next read
		if err != nil || len(line) == 1 {
			writer.Flush()
			return
		}
		writer.Write(s.replyTo(bytes.TrimRight(line, "\r\n")))
		if reader.Buffered() == 0 && writer.Flush() != nil {
			return
		}
	}
}

func (s *server) replyTo(line []byte) []byte {
	if bytes.HasPrefix(line, show) {
		return s.show(line[len(show):])
	}
	if bytes.HasPrefix(line, update) {
		path, contents, ok := bytes.Cut(line[len(update):], []byte(" "))
		if ok && len(contents) > 0 {
			return s.update(string(path), contents)
		}
	}
	return []byte("300 - CLIENT ERROR \"expected SHOW <path> or UPDATE <path> <contents>\"\n")
}

func (s *server) show(path []byte) []byte {
	if reply := s.cache.get(path); reply != nil {
		return reply
	}
	if !isPlain(path) {
		return refused(path)
	}
	contents, err := os.ReadFile(s.docroot + string(path))
	if err != nil {
		return failed(path, err)
	}
	reply := found(path, bytes.TrimSuffix(contents, []byte("\n")))
	s.cache.put(string(path), reply)
	return reply
}

func (s *server) update(path string, contents []byte) []byte {
	if !isPlain([]byte(path)) {
		return refused([]byte(path))
	}
	if len(contents) > 1 && contents[0] == '"' && contents[len(contents)-1] == '"' {
		contents = contents[1 : len(contents)-1]
	}
	err := replace(s.docroot+path, contents)
	s.cache.drop(path)
	if err != nil {
		return failed([]byte(path), err)
	}
	return found([]byte(path), contents)
}

// replace gives an existing file new contents that outlive a power cut, and readers the old ones until then.
func replace(name string, contents []byte) error {
	if _, err := os.Lstat(name); err != nil {
		return err
	}
	directory := filepath.Dir(name)
	file, err := os.CreateTemp(directory, ".update-*")
	if err != nil {
		return err
	}
	_, err = file.Write(contents)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		os.Remove(file.Name())
		return err
	}
	return syncDirectory(directory)
}

func syncDirectory(name string) error {
	directory, err := os.Open(name)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

func isPlain(path []byte) bool {
	return len(path) > 1 && path[0] == '/' && !bytes.Contains(path, []byte("/.")) && !bytes.Contains(path, []byte(" "))
}

func found(path, contents []byte) []byte {
	reply := make([]byte, 0, len(path)+len(contents)+9)
	reply = append(reply, "200 "...)
	reply = append(reply, path...)
	reply = append(reply, " OK\n"...)
	reply = append(reply, contents...)
	return append(reply, '\n')
}

func refused(path []byte) []byte {
	return []byte(fmt.Sprintf("300 %s CLIENT ERROR \"not a path\"\n", path))
}

func failed(path []byte, err error) []byte {
	if os.IsNotExist(err) {
		return []byte(fmt.Sprintf("400 %s NOT FOUND\n", path))
	}
	return []byte(fmt.Sprintf("500 %s SERVER ERROR \"the file cannot be read or written\"\n", path))
}

func main() {
	cached := flag.Bool("cache", true, "keep replies in memory")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: sttp_go [-cache=false] PORT DOCROOT")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	s := &server{docroot: flag.Arg(1)}
	if *cached {
		s.cache = newCache()
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go s.serve(connection)
	}
}
