ALTER TABLE "owners" RENAME COLUMN "telephone" TO "phone";--> statement-breakpoint
UPDATE "owners" SET "phone" = replace("phone", '-', '');
