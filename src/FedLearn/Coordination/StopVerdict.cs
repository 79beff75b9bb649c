namespace FedLearn.Coordination;

/// <summary>What the active party says of a model that it measured, where training may stop early. The numbers travel.</summary>
internal enum StopVerdict
{
    /// <summary>Training ends, and every party goes back to the best model.</summary>
    Stop = 0,

    /// <summary>The best so far: every party keeps it.</summary>
    Best = 1,

    /// <summary>No better than before.</summary>
    GoOn = 2,

    /// <summary>Training ends with the best model.</summary>
    StopHere = 3,
}

/// <summary>The two questions that a <see cref="StopVerdict"/> answers.</summary>
internal static class StopVerdicts
{
    public static StopVerdict Of(bool best, bool ends) => ends ? best ? StopVerdict.StopHere : StopVerdict.Stop : best ? StopVerdict.Best : StopVerdict.GoOn;

    public static bool IsBest(this StopVerdict verdict) => verdict is StopVerdict.Best or StopVerdict.StopHere;

    public static bool Ends(this StopVerdict verdict) => verdict is StopVerdict.Stop or StopVerdict.StopHere;
}
