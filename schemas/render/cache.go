package render

import (
	"container/list"
	"sync"
)

// CacheSize is how many compiled templates a Cache keeps. A plain one takes some 200 KB.
const CacheSize = 64

// Cache keeps compiled templates by the digest of their files, the least recently used
// one going first. Its zero value is ready; it is safe for concurrent use.
type Cache struct {
	mu sync.Mutex
	// recent has the most recently used entry first.
	recent  list.List
	entries map[string]*list.Element
}

type cached struct {
	digest   string
	once     sync.Once
	done     chan struct{}
	template *Template
	err      error
}

// Get returns the template that files compile to. Files that do not compile are tried
// once while the failure is remembered.
func (c *Cache) Get(files map[string]string) (*Template, error) {
	if lines := checkFiles(files); len(lines) > 0 {
		return nil, sourceError(lines...)
	}
	entry := c.entry(Digest(files))
	// Compiling goes on outside of the lock: only those who want the same template wait.
	entry.once.Do(func() {
		defer close(entry.done)
		entry.template, entry.err = Compile(files)
	})
	return entry.template, entry.err
}

// Find returns what Get returned for the files of a digest; known is false where they have
// to be given again.
func (c *Cache) Find(digest string) (t *Template, known bool, err error) {
	c.mu.Lock()
	e, known := c.entries[digest]
	if known {
		c.recent.MoveToFront(e)
	}
	c.mu.Unlock()
	if !known {
		return nil, false, nil
	}
	entry := e.Value.(*cached)
	<-entry.done // Whoever asked first may be compiling still.
	return entry.template, true, entry.err
}

func (c *Cache) entry(digest string) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[digest]; ok {
		c.recent.MoveToFront(e)
		return e.Value.(*cached)
	}
	if c.entries == nil {
		c.entries = map[string]*list.Element{}
	}
	entry := &cached{digest: digest, done: make(chan struct{})}
	c.entries[digest] = c.recent.PushFront(entry)
	if c.recent.Len() > CacheSize {
		oldest := c.recent.Back()
		c.recent.Remove(oldest)
		delete(c.entries, oldest.Value.(*cached).digest)
	}
	return entry
}

// Len is the number of templates kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recent.Len()
}
