package hook

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestTheEventInTheDocumentationIsTrue reads the event that docs/checks.md shows: every field of it is one, and
// every field that each event has is shown.
func TestTheEventInTheDocumentationIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "```json\n")
	shown, _, found := strings.Cut(shown, "```")
	var event struct {
		SpecVersion     string `json:"specversion"`
		ID              string `json:"id"`
		Source          string `json:"source"`
		Type            string `json:"type"`
		Subject         string `json:"subject"`
		Time            string `json:"time"`
		DataContentType string `json:"datacontenttype"`
		Data            Data   `json:"data"`
	}
	strict := json.NewDecoder(strings.NewReader(shown))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&event); err != nil || !found {
		t.Fatalf("docs/checks.md: wanted an event that a hook is called with, found %v in\n%s", err, shown)
	}
	if event.Type != typePrefix+event.Data.Event || event.SpecVersion != "1.0" {
		t.Errorf("docs/checks.md: wanted version 1.0 and the type %s, found %s and %s", typePrefix+event.Data.Event, event.SpecVersion, event.Type)
	}
	var raw struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(shown))).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[Data]().Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, there := raw.Data[name]; !there && option == "" {
			t.Errorf("docs/checks.md: wanted the field %s in the event, found none", name)
		}
	}
}
