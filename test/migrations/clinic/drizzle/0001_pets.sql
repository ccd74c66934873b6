CREATE TABLE "pets" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"owner_id" uuid NOT NULL,
	"name" varchar(30) NOT NULL,
	"kind" varchar(20) NOT NULL,
	"birth_date" date
);
--> statement-breakpoint
ALTER TABLE "pets" ADD CONSTRAINT "pets_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "pets_owner_id" ON "pets" USING btree ("owner_id");
