package attempt_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"tidegate.io/tidegate/test/attack/internal/attempt"
)

func documentation(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../../../docs/attack.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestDocumentedExamples reads what the documentation shows.
func TestDocumentedExamples(t *testing.T) {
	n := 0
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(documentation(t), -1) {
		for file := range strings.SplitSeq(block[1], "\n---\n") {
			n++
			if _, err := attempt.Parse(fmt.Sprintf("example-%d.yaml", n), []byte(file)); err != nil {
				t.Error(err)
			}
		}
	}
	if n < 3 {
		t.Errorf("wanted three examples, found %d", n)
	}
}

// TestEveryKeyIsDocumented has whoever writes files with nothing but the documentation know
// all that they can say.
func TestEveryKeyIsDocumented(t *testing.T) {
	text, seen := documentation(t), map[reflect.Type]bool{}
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || seen[of] {
			return
		}
		seen[of] = true
		for f := range of.Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if key == "" || key == "-" {
				continue
			}
			// In the words of the page: as code, alone or among others in braces.
			if !regexp.MustCompile("`[^`\n]*\\b" + key + "\\b[^`\n]*`").MatchString(text) {
				t.Errorf("docs/attack.md does not say what %s of %s is", key, of.Name())
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[attempt.Attempt]())
	if len(seen) < 15 {
		t.Errorf("wanted all parts of the format, found %d", len(seen))
	}
}
