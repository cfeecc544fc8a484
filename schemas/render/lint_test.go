package render

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// base is a template without findings, in small files that an archive may replace.
func base(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := filepath.Glob("testdata/vet/base/*.cue")
	if err != nil || len(names) == 0 {
		t.Fatalf("reading the base: %v, %v", names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(data)
	}
	return files
}

func lines(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// Each archive in testdata/vet replaces files of the base, and says what Vet finds then.
func TestVetFindsWhatTheLanguageLetsPass(t *testing.T) {
	archives, err := filepath.Glob("testdata/vet/*.txtar")
	if err != nil || len(archives) < 40 {
		t.Fatalf("wanted the corpus, found %d archives, %v", len(archives), err)
	}
	found := map[string]bool{}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files, options := base(t), VetOptions{Examples: map[string][]byte{}}
			golden := -1
			for i, f := range archive.Files {
				switch {
				case f.Name == "findings":
					golden = i
				case strings.HasPrefix(f.Name, "examples/"):
					options.Examples[f.Name] = f.Data
				default:
					files[f.Name] = string(f.Data)
				}
			}
			findings := Vet(files, options)
			for _, f := range findings {
				found[f.Code] = true
			}
			got := lines(findings)
			if *update {
				archive.Files[golden].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(archive.Files[golden].Data); got != want {
				t.Errorf("look at the difference, then rewrite it with -update; wanted\n%sfound\n%s", want, got)
			}
			if good := strings.HasPrefix(filepath.Base(name), "good-"); good != (got == "") {
				t.Errorf("wanted findings unless the name begins with good-, found\n%s", got)
			}
		})
	}
	// Those that need a CRD, an API server or a demand of coverage are tested with them.
	for _, code := range Codes() {
		if !found[code] && !slices.Contains([]string{CodeCRD, CodeServer, CodeCoverage}, code) {
			t.Errorf("no archive has a finding %s", code)
		}
	}
}

func TestVetFindsNothingInTheBase(t *testing.T) {
	if findings := Vet(base(t), VetOptions{}); len(findings) > 0 {
		t.Errorf("wanted no findings, found\n%s", lines(findings))
	}
}

func TestAShallowVetTriesNoEdges(t *testing.T) {
	files := base(t)
	files["variables.cue"] = strings.Replace(files["variables.cue"], `port: *8080 | int & >=1 & <=65535`, `port: *8080 | int & >=0 & <=65535`, 1)
	files["deployment.cue"] = strings.Replace(files["deployment.cue"], "replicas: values.replicas", "replicas: values.replicas\n\t\tif values.port == 0 {paused: \"yes\"}", 1)
	if got := lines(Vet(files, VetOptions{Shallow: true})); strings.Contains(got, CodeLoose) {
		t.Errorf("wanted no edges to be tried, found\n%s", got)
	}
	if got := lines(Vet(files, VetOptions{})); !strings.Contains(got, CodeLoose) {
		t.Errorf("wanted port 0 to be tried, found\n%s", got)
	}
}

func TestVetIsDeterministic(t *testing.T) {
	files := base(t)
	files["variables.cue"] = strings.ReplaceAll(files["variables.cue"], "// ", "/// ")
	files["tests.cue"] = "package base\n"
	first := lines(Vet(maps.Clone(files), VetOptions{}))
	for range 5 {
		if again := lines(Vet(maps.Clone(files), VetOptions{})); again != first {
			t.Fatalf("wanted the same findings each time, found\n%s\nand\n%s", first, again)
		}
	}
}

// Who follows the page to the letter has a good template.
func TestTheTemplateOfTheDocsIsGood(t *testing.T) {
	page, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(page), "```cue\npackage hello\n")
	example, _, _ = strings.Cut(example, "```")
	if !found {
		t.Fatal("wanted a whole template in docs/templates.md, found none")
	}
	for _, f := range Vet(map[string]string{"hello.cue": "package hello\n" + example}, VetOptions{}) {
		if f.Code != CodeNoTests {
			t.Error(f)
		}
	}
}

// docs/templates.md has an entry for each code, and for nothing else.
func TestEveryCodeIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	_, vet, found := strings.Cut(string(page), "\n## Vet\n")
	if !found {
		t.Fatal("wanted a section Vet")
	}
	for _, entry := range strings.Split(vet, "\n### ")[1:] {
		code, text, _ := strings.Cut(entry, "\n")
		documented = append(documented, code)
		if !strings.Contains(text, "**Cure:** ") {
			t.Errorf("%s: wanted a cure, found none", code)
		}
	}
	slices.Sort(documented)
	if !slices.Equal(documented, Codes()) {
		t.Errorf("wanted an entry for each of\n%v\nfound\n%v", Codes(), documented)
	}
}
