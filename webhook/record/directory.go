package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// Suffix is how the names of records end; what has another name is not touched.
	Suffix = ".record.json"
	// unfinished is the prefix of files that are being written.
	unfinished = ".unfinished-"
)

// Directory holds records, the newest, as many as it may.
type Directory struct {
	// Path is the directory; it is made where it is not there.
	Path string
	// MaxFiles and MaxBytes bound what it holds. The oldest records go first.
	MaxFiles int
	MaxBytes int64
}

// Validate says what is wrong.
func (d Directory) Validate() error {
	switch {
	case d.Path == "":
		return errors.New("setting up records: wanted a directory, found none")
	case d.MaxFiles < 1:
		return fmt.Errorf("setting up records: wanted room for at least one file, found %d", d.MaxFiles)
	case d.MaxBytes < 1<<20:
		return fmt.Errorf("setting up records: wanted room for at least 1 MiB, found %d bytes", d.MaxBytes)
	}
	return nil
}

// errNoRoom is: the record alone is larger than all may be.
var errNoRoom = errors.New("the record is larger than the directory may be")

// write puts a record in place at once, so that nobody reads half of one, and makes room
// for it before, so that the bounds hold always.
func (d Directory) write(name string, raw []byte) (removed int, err error) {
	if int64(len(raw)) > d.MaxBytes {
		return 0, errNoRoom
	}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return 0, fmt.Errorf("making the directory of records: %w", err)
	}
	if removed, err = d.room(int64(len(raw))); err != nil {
		return removed, err
	}
	// It is readable by its owner alone from the start.
	f, err := os.CreateTemp(d.Path, unfinished+"*")
	if err != nil {
		return removed, fmt.Errorf("writing a record: %w", err)
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(d.Path, name+Suffix))
	}
	if err != nil {
		return removed, fmt.Errorf("writing a record: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return removed, nil
}

// room removes the oldest records until one of so many bytes fits. Names begin with the
// time, so their order is that of age.
func (d Directory) room(size int64) (removed int, err error) {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return 0, fmt.Errorf("reading the directory of records: %w", err)
	}
	type file struct {
		name string
		size int64
	}
	var files []file
	total := size
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), Suffix) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another replica was faster
		}
		if err != nil {
			return 0, fmt.Errorf("reading the directory of records: %w", err)
		}
		files = append(files, file{e.Name(), info.Size()})
		total += info.Size()
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	for len(files) > 0 && (len(files) >= d.MaxFiles || total > d.MaxBytes) {
		if err := os.Remove(filepath.Join(d.Path, files[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("removing the oldest record: %w", err)
		}
		total -= files[0].size
		files = files[1:]
		removed++
	}
	return removed, nil
}

// sweep removes what a former process left half written. It is called before the first
// write; other replicas that share the directory lose at most a record.
func (d Directory) sweep() error {
	names, err := filepath.Glob(filepath.Join(d.Path, unfinished+"*"))
	if err != nil {
		return fmt.Errorf("reading the directory of records: %w", err)
	}
	for _, n := range names {
		if err := os.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing what is left of a record: %w", err)
		}
	}
	return nil
}
