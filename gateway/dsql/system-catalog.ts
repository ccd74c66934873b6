/** The schema `sys` of Aurora DSQL in the engine's database: jobs, roles of IAM principals, and functions that tell the version. */
import { parseErrorResponse } from '../../wire/error-response.js'
import { createMessageReader } from '../../wire/framing.js'
import { MAX_MESSAGE_BYTES } from '../../wire/frontend.js'
import { BackendType, cString, encodeMessage, FrontendType } from '../../wire/messages.js'
import { SERVER_VERSION, SERVER_VERSION_NUM } from '../../dsql/settings.js'
import type { Engine } from '../engines/engine.js'

/**
 * Creates what is missing of the schema, as `admin`, who owns it.
 *
 * The functions run with the rights of `admin`, but DDL with those of the caller. Job IDs are 16 bytes in base 32, as those of real clusters.
 * Jobs are done when the statement returns; the rows of finished ones vanish after 30 minutes, when another one starts:
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/working-with-create-index-async.html
 */
const SETUP = `
CREATE SCHEMA IF NOT EXISTS sys;
GRANT USAGE ON SCHEMA sys TO PUBLIC;
CREATE TABLE IF NOT EXISTS sys.jobs (
  job_id text PRIMARY KEY, status text NOT NULL, details text, job_type text NOT NULL, class_id oid, object_id oid,
  object_name text, start_time timestamptz NOT NULL, update_time timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS sys.iam_pg_role_mappings (
  iam_oid oid, arn text NOT NULL, pg_role_oid oid NOT NULL, pg_role_name text NOT NULL, grantor_pg_role_oid oid,
  grantor_pg_role_name text, PRIMARY KEY (arn, pg_role_name));
GRANT SELECT ON sys.jobs, sys.iam_pg_role_mappings TO PUBLIC;

CREATE OR REPLACE FUNCTION sys.version() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'PostgreSQL 16'::text $$;

CREATE OR REPLACE FUNCTION sys.current_setting(setting text, missing_ok boolean DEFAULT false) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE pg_catalog.lower(setting) WHEN 'server_version' THEN '${SERVER_VERSION}' WHEN 'server_version_num' THEN '${SERVER_VERSION_NUM}'
    ELSE pg_catalog.current_setting(setting, missing_ok) END $$;

CREATE OR REPLACE FUNCTION sys.new_job(kind text, relation oid, object_oid oid, object text, problem text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE id text := '';
BEGIN
  IF kind NOT IN ('INDEX_BUILD', 'VALIDATE_CONSTRAINT') OR NOT EXISTS (SELECT FROM pg_class WHERE oid = object_oid) THEN
    RAISE EXCEPTION 'permission denied for function new_job' USING ERRCODE = '42501';
  END IF;
  FOR i IN 1..26 LOOP
    id := id || substr('abcdefghijklmnopqrstuvwxyz234567', 1 + floor(random() * 32)::int, 1);
  END LOOP;
  DELETE FROM sys.jobs WHERE update_time < now() - interval '30 minutes' AND status IN ('completed', 'failed');
  INSERT INTO sys.jobs VALUES (id, CASE WHEN problem IS NULL THEN 'completed' ELSE 'failed' END, coalesce(problem, ''), kind,
    relation, object_oid, object, clock_timestamp(), clock_timestamp());
  RETURN id;
END $$;

CREATE OR REPLACE FUNCTION sys.run_job(kind text, ddl text, target text, if_not_exists text) RETURNS TABLE (job_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  problem text;
  place oid := pg_catalog.to_regclass(target);
  made oid;
BEGIN
  IF if_not_exists <> '' AND EXISTS (SELECT FROM pg_catalog.pg_class c, pg_catalog.pg_class t
    WHERE t.oid = place AND c.relnamespace = t.relnamespace AND c.relname = if_not_exists) THEN
    EXECUTE ddl;
    RETURN;
  END IF;
  IF kind = 'INDEX_BUILD' AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index WHERE indrelid = place) >= 24 THEN
    RAISE EXCEPTION 'more than 24 indexes per table are not allowed' USING ERRCODE = '54011';
  END IF;
  BEGIN
    EXECUTE ddl;
  EXCEPTION
    WHEN unique_violation THEN
      IF kind <> 'INDEX_BUILD' THEN RAISE; END IF;
      problem := 'Found duplicate key while validating index for UCVs';
    WHEN foreign_key_violation OR check_violation THEN
      IF kind = 'INDEX_BUILD' THEN RAISE; END IF;
      problem := SQLERRM;
  END;
  SELECT pg_catalog.max(indexrelid) INTO made FROM pg_catalog.pg_index WHERE indrelid = place AND kind = 'INDEX_BUILD' AND problem IS NULL;
  RETURN QUERY SELECT sys.new_job(kind, 'pg_catalog.pg_class'::pg_catalog.regclass, coalesce(made, place),
    (SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = coalesce(made, place)), problem);
END $$;

CREATE OR REPLACE FUNCTION sys.check_lateral(outer_table text, inner_table text, columns text[]) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE place smallint := (SELECT o.attnum FROM pg_catalog.pg_attribute o JOIN pg_catalog.pg_attribute i ON i.attnum = o.attnum
  WHERE o.attrelid = pg_catalog.to_regclass(outer_table) AND i.attrelid = pg_catalog.to_regclass(inner_table)
    AND o.attname = ANY (columns) AND o.atttypid <> i.atttypid LIMIT 1);
BEGIN
  IF place IS NOT NULL THEN
    RAISE EXCEPTION 'attribute % of type % has wrong type', place, (SELECT relname FROM pg_catalog.pg_class
      WHERE oid = pg_catalog.to_regclass(inner_table)) USING ERRCODE = '42804';
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE PROCEDURE sys.alter_table(ddl text, target text, dropped text[], dropped_constraints text[]) LANGUAGE plpgsql AS $$
DECLARE
  key name := (SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = pg_catalog.to_regclass(target) AND i.indisprimary AND a.attname = ANY (dropped) LIMIT 1);
BEGIN
  IF key IS NOT NULL THEN
    RAISE EXCEPTION 'cannot drop primary key column %', key USING ERRCODE = '0A000';
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = pg_catalog.to_regclass(target) AND contype = 'p'
    AND conname = ANY (dropped_constraints)) THEN
    RAISE EXCEPTION 'unsupported ALTER TABLE DROP CONSTRAINT statement' USING ERRCODE = '0A000';
  END IF;
  EXECUTE ddl;
END $$;

CREATE OR REPLACE PROCEDURE sys.wait_for_job(id text, INOUT succeeded boolean DEFAULT NULL) LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF id !~ '^[a-z2-7]{26}$' THEN
    RAISE EXCEPTION 'Unable to convert text to UUID' USING ERRCODE = '22P02';
  END IF;
  SELECT status = 'completed' INTO succeeded FROM sys.jobs WHERE job_id = id;
  IF succeeded IS NULL THEN
    RAISE EXCEPTION 'job % does not exist', id USING ERRCODE = '42704';
  END IF;
END $$;

CREATE OR REPLACE PROCEDURE sys.check_iam(role text, arn text, verb text) LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF arn !~ '^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$' THEN
    RAISE EXCEPTION 'IAM role must look like an IAM ARN' USING ERRCODE = '22023';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
    RAISE EXCEPTION 'Role % does not exist', role USING ERRCODE = '42704';
  END IF;
  IF role = 'admin' OR role ~ '^pg_' THEN
    RAISE EXCEPTION 'Role % not supported', role USING ERRCODE = '0A000';
  END IF;
  IF NOT (SELECT rolcanlogin FROM pg_roles WHERE rolname = role) THEN
    RAISE EXCEPTION 'role % must have the LOGIN attribute', role USING ERRCODE = '42501';
  END IF;
  IF session_user <> 'admin' THEN
    RAISE EXCEPTION 'permission denied to % IAM trust with role %', verb, role USING ERRCODE = '42501';
  END IF;
END $$;

CREATE OR REPLACE PROCEDURE sys.iam_grant(role text, arn text) LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  CALL sys.check_iam(role, arn, 'grant');
  INSERT INTO sys.iam_pg_role_mappings SELECT 0, arn, r.oid, role, g.oid, session_user::text FROM pg_roles r, pg_roles g
    WHERE r.rolname = role AND g.rolname = session_user ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE PROCEDURE sys.iam_revoke(role text, arn text) LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
  CALL sys.check_iam(role, arn, 'revoke');
  DELETE FROM sys.iam_pg_role_mappings m WHERE m.pg_role_name = role AND m.arn = iam_revoke.arn;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'IAM role % does not exist', arn USING ERRCODE = '42704';
  END IF;
END $$;
`

const MAPPINGS = 'SELECT arn, pg_role_name FROM sys.iam_pg_role_mappings'

export interface RoleMapping {
  readonly arn: string
  readonly role: string
}

/**
 * Creates the schema in the database of an engine.
 *
 * Resolves with the stored mappings of IAM principals to roles. Rejects with the error of the engine, for example if it has no role `admin`.
 */
export async function createSystemCatalog(
  engine: Engine,
  database: string,
): Promise<RoleMapping[]> {
  await runAsAdmin(engine, database, SETUP)
  const rows = await runAsAdmin(engine, database, MAPPINGS)
  return rows.map(([arn = '', role = '']) => ({ arn, role }))
}

/** Runs SQL in a session of its own. Resolves with the rows of all its statements. */
async function runAsAdmin(engine: Engine, database: string, sql: string): Promise<string[][]> {
  const parameters = new Map([
    ['application_name', 'pg-iam'],
    ['client_min_messages', 'error'],
  ])
  const session = await engine.openSession({ role: 'admin', database, parameters })
  const reader = createMessageReader(MAX_MESSAGE_BYTES)
  const rows: string[][] = []
  let error: Error | undefined
  let isAsked = false
  try {
    for await (const chunk of session) {
      for (const { type, bytes } of reader.push(chunk as Buffer)) {
        if (type === BackendType.errorResponse) error ??= parseErrorResponse(bytes)
        if (type === BackendType.dataRow) rows.push(valuesIn(bytes))
        if (type !== BackendType.readyForQuery) continue
        if (isAsked) {
          if (error !== undefined) throw error
          return rows
        }
        isAsked = true
        session.write(encodeMessage(FrontendType.query, cString(sql)))
      }
    }
    throw error ?? new Error('the engine ended the session')
  } finally {
    session.destroy()
  }
}

function valuesIn(row: Buffer): string[] {
  const values: string[] = []
  let offset = 7
  for (let left = row.readInt16BE(5); left > 0; left--) {
    const length = row.readInt32BE(offset)
    offset += 4
    values.push(length < 0 ? '' : row.toString('utf8', offset, offset + length))
    offset += Math.max(length, 0)
  }
  return values
}
