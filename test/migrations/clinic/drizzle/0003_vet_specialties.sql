CREATE TABLE "vet_specialties" (
	"vet_id" bigint,
	"specialty_id" integer,
	CONSTRAINT "vet_specialties_vet_id_specialty_id_pk" PRIMARY KEY("vet_id","specialty_id")
);
--> statement-breakpoint
ALTER TABLE "vet_specialties" ADD CONSTRAINT "vet_specialties_vet_id_vets_id_fk" FOREIGN KEY ("vet_id") REFERENCES "public"."vets"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "vet_specialties" ADD CONSTRAINT "vet_specialties_specialty_id_specialties_id_fk" FOREIGN KEY ("specialty_id") REFERENCES "public"."specialties"("id") ON DELETE cascade ON UPDATE no action;
