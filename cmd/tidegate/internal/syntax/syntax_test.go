package syntax

import (
	"strings"
	"testing"
)

func TestEachMistakeHasItsPlace(t *testing.T) {
	filler := "k: {a: 1, b: 'two'}\nl: |\n  text\n  more\n"
	for name, c := range map[string]struct{ text, at, found string }{
		"a second colon in the first line":            {"a: b: c\n", "1:1", `a second ": "`},
		"a second colon further down":                 {filler + "x: y: z\n", "5:1", `a second ": "`},
		"a name without a colon":                      {"a: 1\nb\nc: 2\n", "2:1", "without a colon"},
		"a quote that is not closed, first line":      {"a: \"b\n", "1:1", "inside quotes"},
		"a quote that is not closed, later":           {"a: 1\nb: 'c\nd: 2\n", "2:1", "inside quotes"},
		"a bracket that is not closed":                {"a: 1\nb: [1, 2\nc: 3\n", "2:1", "list in brackets"},
		"a brace that is not closed":                  {"a: 1\n  \nb: {c: 1\nd: 3\n", "3:1", "mapping in braces"},
		"a line that is less deep than its list":      {"a:\n  b: 1\n c: 2\n", "3:2", "does not go on"},
		"a name in a list":                            {"a:\n  - x\n  y: z\n", "3:3", "entry of the list"},
		"a tab":                                       {"a:\n\tb: 1\n", "2:1", "a tab"},
		"a value that begins with @":                  {"a: 1\nb: @x\n", "2:1", "begins with @"},
		"an alias of nothing":                         {"a: 1\nb: *hunter2\n", "2:1", "an alias"},
		"an unknown escape":                           {"a: 1\nb: \"\\q\"\n", "2:1", `a \`},
		"an escape of half a character":               {"a: 1\nb: \"\\ud800\"\n", "2:1", "the number of no character"},
		"a tag of nothing":                            {"a: 1\nb: !<> x\n", "2:1", "tag"},
		"comments before the mistake":                 {"# one\n\n# two\na: b: c\n", "4:1", `a second ": "`},
		"the second document":                         {"a: 1\n---\nb: 2\nc: d: e\n", "4:1", `a second ": "`},
		"a text of many lines before it":              {"a: '" + strings.Repeat("x\n\n", 20) + "'\nb: c: d\n", "42:1", `a second ": "`},
		"a zero byte":                                 {"a: 1\nbc\x00d\n", "2:3", "no text"},
		"another encoding":                            {"a: caf\xe9\n", "1:7", "no text"},
		"JSON with a comma too much":                  {"{\"a\": 1,\n \"b\": [1,,2]}", "2:10", "invalid character ','"},
		"JSON without a comma":                        {"{\"a\": 1\n \"b\": 2}", "2:2", "invalid character '\"'"},
		"JSON that ends too early":                    {"{\"a\": {\"b\": 1}\n", "1:15", "the end"},
		"JSON in one line, the column counts letters": {`{"ä": "ö", "b" 1}`, "1:16", "invalid character '1'"},
	} {
		t.Run(name, func(t *testing.T) {
			e := Find([]byte(c.text))
			if e == nil {
				t.Fatal("wanted a mistake, found none")
			}
			if e.Position() != c.at || !strings.Contains(e.Found, c.found) {
				t.Errorf("wanted %s with %q, found %v", c.at, c.found, e)
			}
			if strings.Contains(e.Error(), "found found") {
				t.Errorf("wanted the word once, found %v", e)
			}
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("wanted nothing of the text to be repeated, found %v", e)
			}
		})
	}
}

func TestWhatCanBeReadHasNoMistake(t *testing.T) {
	for _, text := range []string{"", "a: 1\n", "{}", `{"a": [1, 2,]}`, "[a, b]", "---\n---\na: b\n", "# nothing", "a: 'x\n\n y'\n", "\ufeffa: 1", "a: 1\r\nb: 2\r\n"} {
		if err := Check("f", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAMistakeIsFoundInALongText(t *testing.T) {
	text := strings.Repeat("- {a: 1, b: [x, 'y']}\n", 1000) + "- a: b: c\n" + strings.Repeat("- z\n", 1000)
	readings := 0
	found := line([]byte(text), func(part []byte) bool {
		readings++
		return parse(part) == ""
	})
	if found.number != 1001 {
		t.Errorf("wanted line 1001, found %d", found.number)
	}
	if readings > 200 {
		t.Errorf("wanted at most 200 readings, found %d", readings)
	}
}

func FuzzFind(f *testing.F) {
	f.Add("a: b: c")
	f.Add("{\"a\":")
	f.Fuzz(func(t *testing.T, text string) {
		if e := Find([]byte(text)); e != nil && (e.Line < 1 || e.Column < 1 || e.Line > strings.Count(text, "\n")+1) {
			t.Errorf("%q: %v", text, e)
		}
	})
}
