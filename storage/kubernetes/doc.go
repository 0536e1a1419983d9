// Package kubernetes keeps records in Secrets of a namespace of Kubernetes, as a [storage.Store]. The pods of a
// fleet then need nothing but the cluster that they run in.
//
//	store, err := kubernetes.Open(ctx, "kubernetes:///", kubernetes.Config{})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	m, err := certmanager.New(certmanager.Config{
//		Names:   []string{"example.com"},
//		Storage: store,
//	})
//
// It speaks with the API server by net/http, as the pod's service account; client-go is not needed. A program that has a
// client of its own, by client-go's rest.HTTPClientFor say, gives that: see [New].
//
// Values have private keys in them, and Secrets are in etcd as they are unless the cluster encrypts them
// (EncryptionConfiguration). Wrap the store in a [storage.Sealed] if the cluster's administrators, backups, or all who
// may read Secrets in the namespace must not have them.
//
// It is a module of its own. As long as it is not published, the go.mod of a program needs a replacement for it beside
// that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/storage/kubernetes => ../everseal/storage/kubernetes
//	)
//
// # What it may do
//
// It should have a namespace of its own, for "list" and "create" can't be granted for some Secrets of a namespace alone. This
// is rbac.yaml, beside this package; "kubectl create namespace certificates" comes first:
//
//	apiVersion: v1
//	kind: ServiceAccount
//	metadata:
//	  name: everseal
//	  namespace: certificates
//	---
//	apiVersion: rbac.authorization.k8s.io/v1
//	kind: Role
//	metadata:
//	  name: everseal
//	  namespace: certificates
//	rules:
//	- apiGroups: [""]
//	  resources: [secrets]
//	  verbs: [get, list, watch, create, update, delete]
//	---
//	apiVersion: rbac.authorization.k8s.io/v1
//	kind: RoleBinding
//	metadata:
//	  name: everseal
//	  namespace: certificates
//	roleRef:
//	  apiGroup: rbac.authorization.k8s.io
//	  kind: Role
//	  name: everseal
//	subjects:
//	- kind: ServiceAccount
//	  name: everseal
//	  namespace: certificates
//
// The pod has serviceAccountName: everseal in its spec. Its files are read when they are needed: the token for each request, as the
// kubelet replaces it about once an hour, and the CA for each connection. Nothing else in the cluster is asked for or written. If a
// verb is missing, the error says so.
//
// # The Secrets
//
// A record is a Secret. Keys have more bytes than names of Secrets may have, and other ones, so the name is a hash:
//
//	apiVersion: v1
//	kind: Secret
//	type: everseal.github.io/record-v1
//	metadata:
//	  name: everseal-1fc060b478f97fc5240d6009c1b2fe5376230dac28ca5c15df57f722bd8c5dec
//	  labels:
//	    app.kubernetes.io/managed-by: everseal
//	    everseal.github.io/store: everseal
//	    everseal.github.io/first-segment: certificates
//	  annotations:
//	    everseal.github.io/key: certificates/ca/*.example.com
//	    everseal.github.io/nonce: JBSWY3DPEHPK3PXPJBSWY3DPEH
//	data:
//	  value: …
//
// The name is that of the store, "-" and the SHA-256 of the key in hexadecimal. The first segment of the key is a label, for
// lists to select by; one that can be no label is "sha256-" and the first sixteen bytes of its hash. The type has the version
// of this layout: a Secret of another type, or with another key in it, is refused, and never overwritten. Copies of a
// record under other names, which a backup tool may make, are passed over. So
//
//	kubectl get secrets -l everseal.github.io/first-segment=certificates
//
// shows the certificates. Labels and annotations that others add are lost with the next Save.
//
// # One request
//
// A Save is one POST, or one PUT with the resourceVersion and the uid of what it replaces; a Delete is one DELETE with both as
// preconditions. The server compares and swaps. The resourceVersion is etcd's number of the last change, so it never returns,
// also not for a key that was deleted and saved anew. What is equal to what is stored would not be a change to Kubernetes and
// get no new one: so there is a nonce in each Save. Revision is all three: should etcd be restored from a backup, its numbers
// begin again at an earlier one, and with uid and nonce no two states look the same. (What was seen before a restore should not be
// relied on after it: restart the programs, and restore with etcdutl's --bump-revision.)
//
// Before a conflict is reported, the Secret is read: if it has the nonce of this Save, a proxy has run the request twice, and
// that is success; if it has still the old revision, the server refused for a reason of its own, and the request is sent again.
// So are those that the server was too busy for (429), and those that failed because others changed the namespace's quota, which
// Kubernetes calls a conflict too. A PUT whose answer is lost is sent again, up to three times. A POST is not: it would bring back
// what another has deleted since. It is read back.
//
// Any other error leaves open what happened, as [storage.Store] has it: the connection may have broken after the value
// was stored.
//
// Load names no resourceVersion, so that the API server asks etcd's majority and not its cache, whichever of several servers
// it is.
//
// # Lists
//
// List reads pages of 1,000 of the Secrets' metadata alone (PartialObjectMetadataList), Scan pages of 200 Secrets. A page's
// token says how things were when the list began. After five minutes etcd has forgotten that, and the server gives another token
// (410), with which the rest is as it is by then. All are selected by labels, but the server reads all Secrets of the
// namespace for it.
//
// # Watch
//
// Watch is a watch of the API server's, of metadata. A connection that breaks, or that the server ends, is resumed at the last
// resourceVersion that was told; bookmarks move that on where nothing is changed. If the server does not know any more what was
// changed since (410, after some minutes without a connection), Watch ends with an error: who calls it watches again, and
// reads everything once more after the first "".
//
// # Ceiling
//
// A Secret has at most 1 MiB; records have a quarter of it at most, and usually a hundredth. All Secrets of a cluster are in the
// memory of each of its API servers, and in one etcd whose size is 2 GiB if nothing is said and 8 GiB at most, for all that the
// cluster has. A certificate has two records, of about 12 KiB together, and renewing leases adds their history of five minutes. So it
// is for some thousands of certificates: 5,000 are 10,000 Secrets and 60 MiB. Beyond, and for certificates on demand that anyone
// may cause, a database is the right place (package sql of this repository).
//
// # Certificates for an ingress
//
// [TLSSecrets] writes what managers have obtained into Secrets of the type kubernetes.io/tls:
//
//	secrets := &kubernetes.TLSSecrets{Store: store, Namespace: "web"}
//	go secrets.Run(ctx)
//
// An ingress then says
//
//	tls:
//	- hosts: [example.com]
//	  secretName: tls.example.com
package kubernetes
