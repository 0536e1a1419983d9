package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/core/secret"
)

// newSecrets returns what keeps Secrets in etcd, as pkg/registry/core/secret/storage makes it, whose tables for kubectl
// would have all other kinds of object compiled.
func newSecrets(etcd string) (*genericregistry.Store, error) {
	backend := storagebackend.NewDefaultConfig("/registry", legacyscheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion))
	backend.Transport.ServerList = []string{etcd}
	secrets := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return new(core.Secret) },
		NewListFunc:               func() runtime.Object { return new(core.SecretList) },
		PredicateFunc:             secret.Matcher,
		DefaultQualifiedResource:  core.Resource("secrets"),
		SingularQualifiedResource: core.Resource("secret"),
		CreateStrategy:            secret.Strategy,
		UpdateStrategy:            secret.Strategy,
		DeleteStrategy:            secret.Strategy,
		TableConvertor:            rest.NewDefaultTableConvertor(core.Resource("secrets")),
	}
	return secrets, secrets.CompleteWithOptions(&generic.StoreOptions{RESTOptions: etcdOptions{backend}, AttrFunc: secret.GetAttrs})
}

// etcdOptions has each resource in etcd, behind the cache that watches and lists are answered from.
type etcdOptions struct{ *storagebackend.Config }

func (o etcdOptions) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	return generic.RESTOptions{
		StorageConfig:           o.ForResource(resource),
		Decorator:               genericregistry.StorageWithCacher(),
		EnableGarbageCollection: true,
		DeleteCollectionWorkers: 1,
		ResourcePrefix:          resource.Resource,
		CountMetricPollPeriod:   o.CountMetricPollPeriod,
	}, nil
}
