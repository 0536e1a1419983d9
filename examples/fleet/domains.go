package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/everseal/everseal/certmanager"
)

// domains are those of the customers, in the table of that name.
type domains struct{ pool *pgxpool.Pool }

// prepare makes the table if it is missing.
func (d *domains) prepare(ctx context.Context) error {
	// Members that start at the same time would have the same idea.
	_, err := d.pool.Exec(ctx, `DO $$ BEGIN
		PERFORM pg_advisory_xact_lock(hashtext('fleet domains'));
		CREATE TABLE IF NOT EXISTS domains (name text PRIMARY KEY, customer text NOT NULL);
	END $$`)
	if err != nil {
		return fmt.Errorf("make the table domains: %w", err)
	}
	return nil
}

// add gives a customer a domain.
func (d *domains) add(ctx context.Context, name, customer string) error {
	_, err := d.pool.Exec(ctx, "INSERT INTO domains VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET customer = excluded.customer", name, customer)
	if err != nil {
		return fmt.Errorf("add the domain %s: %w", name, err)
	}
	return nil
}

// customer returns whose domain it is; empty: nobody's.
func (d *domains) customer(ctx context.Context, name string) (string, error) {
	var customer string
	err := d.pool.QueryRow(ctx, "SELECT customer FROM domains WHERE name = $1", name).Scan(&customer)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("whose domain is %s: %w", name, err)
	}
	return customer, nil
}

// allow is the policy for certificates. It is asked once for all handshakes that wait for a name, and a denial counts a minute.
func (d *domains) allow(ctx context.Context, q certmanager.Question) error {
	customer, err := d.customer(ctx, q.Name)
	if err == nil && customer == "" {
		return certmanager.ErrDenied
	}
	return err
}
