package controller

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

const (
	// maxConditionMessage bounds what is put into a condition; the API allows 32 KiB.
	maxConditionMessage = 4 << 10
	// maxEventNote bounds what is put into an event; the API allows 1 KiB.
	maxEventNote = 1000
)

// standing is how an object of the catalog (a template, a metric source) stands: in
// effect, being worked on or waited for, or waiting for a person.
type standing struct {
	// kind is Ready, Reconciling or Stalled.
	kind string
	// code is TG-...; empty when kind is Ready.
	code    string
	message string
}

// conditions writes the three kstatus conditions for the generation; Reconciling and
// Stalled are present only while true, and never together.
func (s standing) conditions(list *[]metav1.Condition, generation int64) {
	reason := "Ready"
	if s.code != "" {
		reason = conditionReason(s.code)
	}
	message := clip(s.message, maxConditionMessage)
	ready := metav1.ConditionFalse
	if s.kind == v1alpha1.ConditionReady {
		ready = metav1.ConditionTrue
	}
	meta.SetStatusCondition(list, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: ready, ObservedGeneration: generation, Reason: reason, Message: message,
	})
	for _, kind := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if s.kind != kind {
			meta.RemoveStatusCondition(list, kind)
			continue
		}
		meta.SetStatusCondition(list, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, ObservedGeneration: generation, Reason: reason, Message: message,
		})
	}
}

// clip shortens text to at most limit bytes, at a whole character.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("...")], "") + "..."
}
