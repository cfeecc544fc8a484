package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const passing = `about: One sentence.
kind: legitimate
namespace: none
request: {method: GET, path: /version}
expect: {result: allowed}
`

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestArguments has what keeps a run from beginning, without a cluster.
func TestArguments(t *testing.T) {
	good := write(t, map[string]string{"good.yaml": passing})
	bad := write(t, map[string]string{"bad.yaml": passing + "expects: {}\n"})
	for sentence, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a list needs no cluster":            {[]string{"--dir", good, "--list"}, 0, "good.yaml\tgood"},
		"help is no mistake":                 {[]string{"-h"}, 0, "-dir"},
		"a mistake in a file":                {[]string{"--dir", good, "--dir", bad, "--list"}, 2, "bad.yaml:6: wanted one of the keys about"},
		"a directory without files":          {[]string{"--dir", t.TempDir(), "--list"}, 2, "found none"},
		"a directory that is not there":      {[]string{"--dir", "/nowhere", "--list"}, 2, "reading attempts"},
		"a flag that there is not":           {[]string{"--directory", good}, 2, "flag provided but not defined"},
		"an argument in the place of a flag": {[]string{good}, 2, "directories are given by --dir"},
		"an output that there is not":        {[]string{"--dir", good, "-o", "yaml"}, 2, `wanted table or json, found "yaml"`},
		"nothing that --run matches":         {[]string{"--dir", good, "--list", "--run", "nothing"}, 2, "nothing that --run matches"},
		"a pattern that is none":             {[]string{"--dir", good, "--run", "["}, 2, "--run"},
		"no patience at all":                 {[]string{"--dir", good, "--patience", "0"}, 2, "--patience: wanted 1 to 20"},
		"a seed that is no number":           {[]string{"--dir", good, "--seed", "x"}, 2, "invalid value"},
		"nobody plays":                       {[]string{"--dir", good, "--parallel", "0"}, 2, "--parallel: wanted at least 1"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(t.Context(), tc.args, &out, &out); code != tc.code || !strings.Contains(out.String(), tc.want) {
				t.Errorf("wanted %d and %q, found %d and:\n%s", tc.code, tc.want, code, out.String())
			}
		})
	}
}

// TestAttack plays the project's own attempts and legitimate actions, and beside them one
// of each side that must be red: a run in which nothing can fail would say nothing.
func TestAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a cluster")
	}
	wrong := write(t, map[string]string{
		"wrong-attempt.yaml":    strings.Replace(strings.Replace(passing, "legitimate", "attempt", 1), "allowed", "denied", 1),
		"wrong-legitimate.yaml": strings.Replace(passing, "allowed", "rejected", 1),
		"wrong-setup.yaml":      passing + "setup: [{request: {method: GET, path: /nowhere}}]\n",
	})
	var out, progress bytes.Buffer
	code := run(t.Context(), []string{"--dir", "attempts", "--dir", "legitimate", "--dir", wrong, "-o", "json", "--patience", "4", "--seed", "7"}, &out, &progress)
	var got struct {
		Results []struct {
			File, Name, Found, Error string
			Pass                     bool
			Problems                 []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("the run ended with %d: %v\n%s", code, err, progress.String())
	}
	red := 0
	for _, r := range got.Results {
		if strings.HasPrefix(filepath.Base(r.File), "wrong-") {
			if r.Pass {
				t.Errorf("%s: wanted it red, found a pass", r.Name)
			}
			red++
			continue
		}
		if !r.Pass {
			t.Errorf("%s: found %s: %s %s", r.File, r.Found, strings.Join(r.Problems, "; "), r.Error)
		}
	}
	if code != 1 || red != 3 {
		t.Errorf("wanted exit code 1 because of 3 that are wrong, found %d and %d", code, red)
	}
}
