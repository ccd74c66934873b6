CREATE TABLE "visits" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"pet_id" bigint NOT NULL,
	"visit_date" date NOT NULL,
	"description" varchar(255),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "visits" ADD CONSTRAINT "visits_pet_id_pets_id_fk" FOREIGN KEY ("pet_id") REFERENCES "public"."pets"("id") ON DELETE cascade ON UPDATE no action;
