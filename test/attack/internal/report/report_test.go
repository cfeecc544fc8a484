package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tidegate.io/tidegate/test/attack/internal/attempt"
	"tidegate.io/tidegate/test/attack/internal/play"
	"tidegate.io/tidegate/test/attack/internal/report"
)

func outcome(kind attempt.Kind, err error, problems ...string) play.Outcome {
	return play.Outcome{
		Attempt:  &attempt.Attempt{File: "x.yaml", Name: "a name", About: "About it.", Kind: kind},
		Identity: "mallory", Request: "create pods", Expected: "denied", Found: "denied TG-GATE-POD", Problems: problems, Err: err,
	}
}

func TestCode(t *testing.T) {
	good, bad, broken := outcome(attempt.Hostile, nil), outcome(attempt.Hostile, nil, "x"), outcome(attempt.Legitimate, errors.New("x"))
	for sentence, tc := range map[string]struct {
		outcomes []play.Outcome
		want     int
	}{
		"all as expected":                     {[]play.Outcome{good, good}, report.AllAsExpected},
		"one is not":                          {[]play.Outcome{good, bad}, report.NotAsExpected},
		"one could not be carried out":        {[]play.Outcome{good, broken}, report.CouldNotRun},
		"one is not and one could not":        {[]play.Outcome{broken, bad}, report.NotAsExpected},
		"nothing was played":                  {nil, report.CouldNotRun},
		"problems before an error is neither": {[]play.Outcome{outcome(attempt.Hostile, errors.New("x"), "y")}, report.CouldNotRun},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := report.Code(tc.outcomes); got != tc.want {
				t.Errorf("wanted %d, found %d", tc.want, got)
			}
		})
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	all := []play.Outcome{outcome(attempt.Hostile, nil), outcome(attempt.Hostile, nil, "wanted denied, found allowed"), outcome(attempt.Legitimate, errors.New("setup: no"))}
	if err := report.Table(&b, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"attempts: 1 of 2 as expected, 1 failed, 0 could not be carried out", "legitimate actions: 0 of 1 as expected, 0 failed, 1 could not be carried out",
		"FAIL  a name (x.yaml)\n    About it.\n    wanted denied, found allowed", "ERROR  a name (x.yaml)\n    About it.\n    setup: no", "denied TG-GATE-POD",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("wanted %q in:\n%s", want, b.String())
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report.JSON(&b, []play.Outcome{outcome(attempt.Hostile, nil), outcome(attempt.Hostile, nil, "x"), outcome(attempt.Legitimate, errors.New("y"))}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results []struct {
			File, Error string
			Pass        bool
			Problems    []string
		}
		Attempts, Legitimate report.Sum
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != 3 || !got.Results[0].Pass || got.Results[1].Pass || got.Results[2].Pass || got.Results[2].Error != "y" || got.Results[1].Problems[0] != "x" {
		t.Errorf("found %s", b.String())
	}
	if got.Attempts != (report.Sum{Played: 2, Passed: 1, Failed: 1}) || got.Legitimate != (report.Sum{Played: 1, Errors: 1}) {
		t.Errorf("found %+v and %+v", got.Attempts, got.Legitimate)
	}
}
