package controller

import (
	"fmt"
	"strconv"
	"strings"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// rolloutName is the name of the n-th Rollout of a Release. Whoever creates it second
// finds that it exists, so no attempt is made twice.
func rolloutName(release string, n int64) string {
	return fmt.Sprintf("%s-%d", release, n)
}

// templateNamed is the name of the template that a revision of this name is of; empty where
// it is no name of a revision.
func templateNamed(revision string) string {
	template, _, _ := v1alpha1.ParseRevisionName(revision)
	return template
}

// nextNumber is one that no Rollout of the Release has had, given all that bear its name:
// those that a former Release of this name left behind have their names still. The status
// remembers the newest, were all of them deleted.
func nextNumber(release *v1alpha1.Release, rollouts []v1alpha1.Rollout) int64 {
	var last int64
	for i := range rollouts {
		last = max(last, rollouts[i].Spec.Number)
	}
	if digits, ok := strings.CutPrefix(release.Status.Rollout, release.Name+"-"); ok {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return last + 1
}
