package main

import "testing"

func TestMetricsAreGuardedWhereTheyAreSecure(t *testing.T) {
	plain := options{metricsAddress: "127.0.0.1:8080"}.metrics()
	if plain.SecureServing || plain.BindAddress != "127.0.0.1:8080" {
		t.Errorf("plain: %+v", plain)
	}
	secure := options{metricsAddress: ":8443", metricsSecure: true}.metrics()
	if !secure.SecureServing || secure.FilterProvider == nil {
		t.Errorf("secure metrics are served over plain HTTP, or to everybody: %+v", secure)
	}
}
