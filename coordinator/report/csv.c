/* SPDX-License-Identifier: MIT
 * A report for spreadsheets: a line for each layer and linear, its scale group's choice with it.
 * No field has a comma or a quote in it. A number that is not there is an empty field. */
#include <math.h>

#include "coordinator/report/report.h"
#include "io/model/model.h"

static void print_number(FILE *file, double value)
{
    if (isfinite(value))
        fprintf(file, ",%.9g", value);
    else
        fputc(',', file);
}

static awq_status print_layer(void *context, const awq_layer_record *record, awq_error *err)
{
    (void)err; /* what cannot be printed is found at the end, by the caller of all commands */
    FILE *file = context;
    for (int i = 0; i < record->linears; i++) {
        const awq_linear_record *linear = &record->linear[i];
        const awq_group_record *group = &record->group[linear->group];
        bool chosen = group->chosen >= 0;
        fprintf(file, "%lld,%s,%s", (long long)record->layer, linear->name, group->name);
        print_number(file, chosen ? group->alpha[group->chosen] : NAN);
        fprintf(file, chosen ? ",%d" : ",", chosen ? group->duo[group->chosen] : 0);
        print_number(file, chosen ? group->loss[group->chosen] : NAN);
        print_number(file, chosen ? group->measured[group->chosen] : NAN);
        print_number(file, group->candidates ? group->loss[0] : NAN);
        print_number(file, sqrt(linear->loss / linear->energy));
        print_number(file, sqrt(linear->loss_rounding / linear->energy));
        print_number(file, linear->loss);
        print_number(file, linear->loss_rounding);
        print_number(file, linear->energy);
        fprintf(file, ",%lld,%lld,%g,%lld,%lld", (long long)linear->groups,
                (long long)linear->clipped_groups, linear->damp, (long long)group->tokens,
                (long long)record->when.worker);
        for (int phase = 0; phase < AWQ_PHASES; phase++) print_number(file, record->seconds[phase]);
        fputc('\n', file);
    }
    return AWQ_OK;
}

awq_status awq_report_print_csv(FILE *file, const awq_report_source *source, awq_error *err)
{
    fputs("layer,linear,scale_group,alpha,duo,group_loss,group_loss_measured,group_loss_identity,"
          "relative_error,relative_error_rounding,loss,loss_rounding,energy,weight_groups,"
          "clipped_groups,damp,tokens,worker",
          file);
    for (int phase = 0; phase < AWQ_PHASES; phase++)
        fprintf(file, ",%s_s", awq_phase_name((awq_phase)phase));
    fputc('\n', file);
    return awq_report_each(source, print_layer, file, err);
}
