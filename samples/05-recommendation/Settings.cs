using System.Globalization;
using FedLearn.Dssm;

namespace FedLearn.Samples.Recommendation;

/// <summary>How a model is trained.</summary>
internal sealed record Setup(DssmModelOptions Model, DssmTrainingOptions Training);

/// <summary>The program's arguments, and the sizes that follow from them.</summary>
internal sealed record Settings
{
    public const string Usage = "Arguments: [--source DIR] [--report FILE] [--seeds N] [--users N] [--items N], numbers above 0; users and items are those of the generator.";

    /// <summary>Folder of MovieLens 100K; null: the generator.</summary>
    public string? Source { get; private init; }

    /// <summary>Where the report is written as JSON; null: nowhere.</summary>
    public string? Report { get; private init; }

    /// <summary>Every figure is a mean over the training seeds 0 to this less 1.</summary>
    public int Seeds { get; private init; } = 1;

    /// <summary>Users of the generator.</summary>
    public int Users { get; private init; } = 1500;

    /// <summary>Items of the generator.</summary>
    public int Items { get; private init; } = 400;

    /// <summary>Ratings of a user of the generator, on average: few, so that one view does not know everything.</summary>
    public static int RatingsPerUser => 20;

    /// <summary>Jobs without noise; the epoch with the best validation figure is kept.</summary>
    public Setup Plain => new(new DssmModelOptions { Negatives = 20, ViewDropout = 0.3 }, new DssmTrainingOptions { Epochs = Source is null ? 15 : 12, BatchSize = BatchSize });

    /// <summary>Jobs with noise, and the one they are compared with.</summary>
    public Setup Noised => new(new DssmModelOptions { Layers = [64, 16], Negatives = 20 }, new DssmTrainingOptions { Epochs = 5, BatchSize = BatchSize, ValidationStop = false });

    private int BatchSize => Source is null ? 256 : 1024;

    /// <summary>Reads the arguments; null: they are wrong.</summary>
    public static Settings? Parse(string[] args)
    {
        string? home = Environment.GetEnvironmentVariable("FEDLEARN_DATA"), found = home is null ? null : Path.Combine(home, "ml-100k");
        var settings = new Settings { Source = Directory.Exists(found) ? found : null };
        for (int i = 0; i < args.Length && settings is not null; i += 2)
        {
            string value = i + 1 < args.Length ? args[i + 1] : "";
            bool whole = int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0;
            settings = args[i] switch
            {
                "--source" when value.Length > 0 => settings with { Source = value },
                "--report" when value.Length > 0 => settings with { Report = value },
                "--seeds" when whole => settings with { Seeds = number },
                "--users" when whole => settings with { Users = number },
                "--items" when whole => settings with { Items = number },
                _ => null,
            };
        }

        return settings;
    }
}
