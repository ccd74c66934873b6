ALTER TABLE "owners" ALTER COLUMN "city" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "visits" ADD CONSTRAINT "visits_cost" CHECK ("visits"."cost" >= 0);
