package main

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// definitions returns the schemas by which the server notes who has written which field (managedFields): those of Secrets, as
// Kubernetes has them, beside those that all API servers have. Kubernetes' own are of all kinds of object, four
// megabytes of code.
func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	all := maps.Clone(apiextensions.GetOpenAPIDefinitions(ref))
	text := spec.StringProperty
	texts := func(value *spec.Schema) spec.Schema { return *spec.MapProperty(value) }
	all[corev1.Secret{}.OpenAPIModelName()] = common.OpenAPIDefinition{
		Schema: spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}, Properties: map[string]spec.Schema{
			"kind": *text(), "apiVersion": *text(), "type": *text(), "immutable": *spec.BooleanProperty(),
			"metadata":   {SchemaProps: spec.SchemaProps{Default: map[string]any{}, Ref: ref(metav1.ObjectMeta{}.OpenAPIModelName())}},
			"data":       texts(spec.StrFmtProperty("byte")),
			"stringData": texts(text()),
		}}},
		Dependencies: []string{metav1.ObjectMeta{}.OpenAPIModelName()},
	}
	item := spec.Schema{SchemaProps: spec.SchemaProps{Default: map[string]any{}, Ref: ref(corev1.Secret{}.OpenAPIModelName())}}
	all[corev1.SecretList{}.OpenAPIModelName()] = common.OpenAPIDefinition{
		Schema: spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}, Required: []string{"items"}, Properties: map[string]spec.Schema{
			"kind": *text(), "apiVersion": *text(), "items": *spec.ArrayProperty(&item),
			"metadata": {SchemaProps: spec.SchemaProps{Default: map[string]any{}, Ref: ref(metav1.ListMeta{}.OpenAPIModelName())}},
		}}},
		Dependencies: []string{corev1.Secret{}.OpenAPIModelName(), metav1.ListMeta{}.OpenAPIModelName()},
	}
	return all
}
