ALTER TABLE "pets" ADD COLUMN "chart" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "specialties" ADD COLUMN "description" varchar(255);--> statement-breakpoint
ALTER TABLE "owners" DROP COLUMN "address";
