using System.Globalization;
using FedLearn.Coordination;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Parties;

namespace FedLearn.Dssm;

/// <summary>A party of a recommendation job and what it brings, checked against each other: what training and the use of a model have in common.</summary>
internal sealed class DssmParty
{
    /// <exception cref="ConfigurationException">The job is inconsistent, or the input does not fit it.</exception>
    /// <exception cref="PrivacyRefusedException">No claim covers the job, or the view.</exception>
    public DssmParty(DssmJob job, DssmPartyInput input)
    {
        (Plan, Input) = (DssmPlan.Create(job), input);
        Options = job.Parties.FirstOrDefault(p => p.Party.Name == input.Party) ?? throw Invalid("the job has no party of that name.", "Use a name that the job lists.");
        AlignmentChoice.Of(job.Alignment, input.Alignment, input.Party);
        if (IsActive && (input.Items is null || input.Interactions is null))
            throw Invalid("the active party brings no items or no events.", "Name data.items and data.interactions.");
        if (!IsActive && (input.Items is not null || input.Interactions is not null))
            throw Invalid("a view brings items or events, which would have no effect.", "Give them at the active party.");
        if (input.View is null == (!IsActive || job.LabelHasView))
            throw Invalid(input.View is null ? "it brings no view." : "it brings a view that the job does not know of.",
                "Name data.view at every view, and at the active party if and only if the job says that it has one.");
        if (!IsActive)
            Plan.CheckView(Options, input.View!.Moments is null);
    }

    public DssmPlan Plan { get; }

    public DssmJob Job => Plan.Job;

    public DssmPartyInput Input { get; }

    public DssmPartyOptions Options { get; }

    public string Name => Input.Party;

    /// <summary>The party in errors.</summary>
    public string Place => $"party '{Name}'";

    public PartyRole Role => Options.Party.Role;

    public bool IsActive => Role == PartyRole.Active;

    /// <summary>Whether it adds noise; who is alone sends nothing.</summary>
    public bool Noises => Plan.Noises(Role) && Job.Parties.Count > 1;

    /// <summary>Its view, as its tower reads it; null for none. In a private job no number of it is larger than a public bound: a row whose vector overflows would end the session, and tell by that
    /// which row it is. A map of each row by itself changes no claim.</summary>
    public ViewTable? View => Job.Privacy.IsPrivate ? Input.View?.Within(DssmRun.Largest) : Input.View;

    /// <summary>Says that numbers of its view count as the bound: for its own report.</summary>
    public IEnumerable<string> ViewWarnings()
    {
        if (Job.Privacy.IsPrivate && Input.View?.Rows.CountBeyond(DssmRun.Largest) is > 0 and var count)
            yield return string.Create(CultureInfo.InvariantCulture,
                $"{count:N0} {Counted.Noun(count, "number of the view", "numbers of the view")} of '{Name}' {(count == 1 ? "is" : "are")} beyond 1e12 and count as 1e12; where that is another unit or a mistake, mend the cells{CellsOutside.OutsideClaims}");
    }

    public SessionTelemetry Telemetry(string operation) => new(operation, Name, Job.Name, Job.Privacy.IsPrivate ? "dp" : "none", Input.LoggerFactory);

    private ConfigurationException Invalid(string cause, string remedy) => new(DssmErrors.InvalidJob, Place, cause, remedy);
}
