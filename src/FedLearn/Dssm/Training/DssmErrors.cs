namespace FedLearn.Dssm;

/// <summary>Errors of recommendation jobs; each has a page under docs/errors.</summary>
public static class DssmErrors
{
    /// <summary>A job in code is inconsistent, or an input does not fit it.</summary>
    public const string InvalidJob = "FL2485";

    /// <summary>A model file cannot be read.</summary>
    public const string BadModelFile = "FL2486";

    /// <summary>A model file belongs to another job, party or training than asked for.</summary>
    public const string OtherModel = "FL2487";

    /// <summary>Lists are asked for people of whom the active party has no events, and the parties have not agreed to that.</summary>
    public const string NewUsers = "FL2488";

    /// <summary>A run that was cut off began with another number of threads.</summary>
    public const string OtherThreads = "FL2545";

    /// <summary>A ledger's outbox keeps fewer messages than a run that goes on may have to send again.</summary>
    public const string MessagesNotKept = "FL2548";

    /// <summary>There is no sample to train on.</summary>
    public const string NoSamples = "FL3145";

    /// <summary>The active party asks for samples that the job's terms do not allow.</summary>
    public const string SamplesNotAllowed = "FL4090";

    /// <summary>Two samples read one row of a view where the claim counts one.</summary>
    public const string SharedRow = "FL5185";

    /// <summary>The job lets no vector leave after training.</summary>
    public const string NoVectorsLeave = "FL5187";

    /// <summary>The training loss is NaN or infinite.</summary>
    public const string Diverged = "FL6150";
}
