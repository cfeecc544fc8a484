package findings

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"strings"
)

// SARIF 2.1.0 (OASIS), as much of it as there is something to say in. Every result has a
// place, without which GitHub refuses a file.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
	}
	sarifResult struct {
		RuleID              string            `json:"ruleId"`
		RuleIndex           int               `json:"ruleIndex"`
		Level               Severity          `json:"level"`
		Message             sarifText         `json:"message"`
		Locations           []sarifLocation   `json:"locations"`
		PartialFingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

func sarif(r Report) sarifLog {
	run := sarifRun{
		Tool:       sarifTool{Driver: sarifDriver{Name: "tidegate", Version: r.Version, Rules: []sarifRule{}}},
		ColumnKind: "unicodeCodePoints", Results: []sarifResult{},
	}
	index := map[string]int{}
	for _, o := range r.Objects {
		for _, f := range o.Findings {
			i, known := index[f.Code]
			if !known {
				i = len(run.Tool.Driver.Rules)
				index[f.Code] = i
				run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: f.Code, ShortDescription: sarifText{ruleText(f)}})
			}
			run.Results = append(run.Results, sarifResultOf(o, f, i))
		}
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

// ruleText says what a code is about without what differs from object to object.
func ruleText(f Finding) string {
	if f.Policy != "" {
		return "Policy " + f.Policy + " objects with " + f.Code
	}
	return "Tidegate objects with " + f.Code
}

func sarifResultOf(o Object, f Finding, rule int) sarifResult {
	location := sarifLocation{
		Physical: sarifPhysical{Artifact: sarifArtifact{URI: uri(f.File)}},
		Logical:  []sarifLogical{{FullyQualifiedName: o.Title(), Kind: "resource"}},
	}
	if f.Line > 0 {
		location.Physical.Region = &sarifRegion{StartLine: f.Line, StartColumn: f.Column}
	}
	// The line is left out: what was found stays the same finding when lines above it change.
	sum := sha256.Sum256([]byte(strings.Join([]string{f.File, o.Title(), f.Code, f.Policy, f.Field, f.Message}, "\x00")))
	return sarifResult{
		RuleID: f.Code, RuleIndex: rule, Level: f.Severity, Message: sarifText{f.Text()}, Locations: []sarifLocation{location},
		PartialFingerprints: map[string]string{"tidegateFinding/v1": hex.EncodeToString(sum[:16])},
	}
}

// uri is a file as a reference of a URI.
func uri(file string) string {
	u := url.URL{Path: path.Clean(file)}
	if path.IsAbs(file) {
		u.Scheme = "file"
	}
	return u.String()
}
